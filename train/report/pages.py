"""HTML documents made of the template files beside this one; every value is escaped."""

from __future__ import annotations

import base64
import struct
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment

_FOLDER = Path(__file__).with_name("templates")


@dataclass(frozen=True)
class Picture:
    """A picture in a page: a `data:` URL, and the size in pixels that keeps its place free."""

    src: str
    width: int
    height: int

    @classmethod
    def of(cls, content: bytes, kind: str, *, width: int, height: int) -> Picture:
        """Return a picture of an encoded file's content; `kind` is such as "png"."""
        encoded = base64.b64encode(content).decode("ascii")
        return cls(f"data:image/{kind};base64,{encoded}", width, height)

    @classmethod
    def of_png(cls, content: bytes) -> Picture:
        """Return a picture of a PNG, whose header tells its size."""
        width, height = struct.unpack(">II", content[16:24])
        return cls.of(content, "png", width=width, height=height)


def asset(name: str) -> str:
    """Return the text of a file in `templates/`."""
    return (_FOLDER / name).read_text(encoding="utf-8")


def render(template: str, **values: Any) -> str:
    """Return a document, or a part, made of a template; a name that it lacks is an error."""
    return _environment().get_template(template).render(**values)


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals["asset"] = asset
    return made
