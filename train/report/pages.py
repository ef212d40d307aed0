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
    from markupsafe import Markup

_FOLDER = Path(__file__).with_name("templates")


@dataclass(frozen=True)
class Picture:
    """A picture in a page; its size keeps its place free before it is drawn.

    Attributes:
        src: A `data:` URL.
        width: In pixels.
        height: In pixels.
    """

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


def render(template: str, **values: Any) -> str:
    """Return a document made of a file in `templates/`; a name that it lacks is an error."""
    return _environment().get_template(template).render(**values)


def inline(template: str, **values: Any) -> Markup:
    """Return the same as a part of a document, which is not escaped again."""
    from markupsafe import Markup

    return Markup(render(template, **values))  # noqa: S704


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    made = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals["asset"] = lambda name: Markup((_FOLDER / name).read_text(encoding="utf-8"))  # noqa: S704
    return made
