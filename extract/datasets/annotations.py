"""Annotation files read with checks, so that messages name the file, the record and the field."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ...errors import AnnotationInvalid, DatasetMissing

T = TypeVar("T")

_KINDS = {
    str: "text",
    int: "a whole number",
    bool: "true or false",
    list: "a list",
    dict: "an object",
}


def read_json(
    path: Path, *, object_pairs_hook: Callable[[list[tuple[str, Any]]], Any] | None = None
) -> Any:
    """Return the content of a JSON file."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        raise DatasetMissing(f"{path}: no such annotation file") from None
    except UnicodeDecodeError as error:
        raise AnnotationInvalid(f"{path}: not UTF-8 text at byte {error.start}") from error
    except OSError as error:
        raise DatasetMissing(f"{path}: cannot be read: {error}") from error
    try:
        return json.loads(text, object_pairs_hook=object_pairs_hook)
    except json.JSONDecodeError as error:
        raise AnnotationInvalid(
            f"{path}:{error.lineno}: not JSON: {error.msg} at column {error.colno}"
        ) from error
    except RecursionError as error:
        raise AnnotationInvalid(f"{path}: its JSON is nested too deeply") from error


@dataclass(frozen=True, slots=True)
class Record:
    """One annotation with the words that say where it is.

    Args:
        fields: Its content.
        where: Such as `questions.json: question_id 12`.
    """

    fields: Mapping[str, Any]
    where: str

    def get(self, name: str, kind: type[T]) -> T:
        """Return a field that must be there and of one type."""
        if name not in self.fields:
            held = ", ".join(self.fields) or "none"
            raise self.invalid(f"lacks the field {name!r}; it has: {held}")
        value = self.fields[name]
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise self.invalid(f"field {name!r} must be {_KINDS[kind]}, not {shorten(value)}")
        return value

    def invalid(self, problem: str) -> AnnotationInvalid:
        """Return the error that names the place and the problem, to be raised."""
        return AnnotationInvalid(f"{self.where}: {problem}")


def as_record(value: Any, where: str) -> Record:
    """Return a parsed JSON value as a record."""
    if not isinstance(value, dict):
        raise AnnotationInvalid(f"{where}: must be an object, not {shorten(value)}")
    return Record(value, where)


def shorten(value: Any) -> str:
    """Return a value's repr, cut so that a message stays readable."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
