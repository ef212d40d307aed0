"""How a value is found in a record: by a dotted path, or by a text with such paths in braces."""

import re
from collections.abc import Callable, Mapping
from string import Formatter
from typing import Any

from ...cache.atomic import shorten
from ...errors import ConfigError
from .annotations import Record

Getter = Callable[[Record], Any]
"""Returns a record's value, None where it is absent and may be."""

_EACH = "[]"
_SPEC = re.compile(r"(0?\d{1,2})?[ds]?")


def getter(said: str, where: str) -> Getter:
    """Return what reads the value that `said` describes; `where` names it in messages.

    `a.b` is a field in a field, `a.0` the first of a list, `a[].b` the same field of each of a
    list. A text with braces, such as `{folder}/{image_id:012d}.jpg`, is filled in; it has no value
    where one of its fields is null. What ends in "?" may be absent.
    """
    optional, said = said.endswith("?"), said.removesuffix("?")
    return _template(said, where, optional) if "{" in said else _path(said, optional)


def fill(template: str, values: Mapping[str, Any], where: str) -> str:
    """Return a template filled from values that must be there; an empty one leaves nothing."""
    return getter(template, where)(Record(values, where)) or "" if "{" in template else template


def _path(said: str, optional: bool) -> Getter:
    if "." not in said and not said.endswith(_EACH):
        return (lambda record: record.fields.get(said)) if optional else _needed(said)
    steps = said.replace(_EACH, f".{_EACH}").split(".")

    def read(record: Record) -> Any:
        try:
            return _walk(record.fields, steps)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            if optional:
                return None
            first = steps[0]
            held = shorten(record.fields[first]) if first in record.fields else "no such field"
            raise record.invalid(f"has no {said!r}; {first!r} is {held}") from error

    return read


def _needed(name: str) -> Getter:
    return lambda record: record.needed(name)


def _walk(value: Any, steps: list[str]) -> Any:
    for place, step in enumerate(steps):
        if step == _EACH:
            if not isinstance(value, list):
                raise TypeError(step)
            return [_walk(item, steps[place + 1 :]) for item in value]
        value = value[int(step)] if isinstance(value, list) else value[step]
    return value


def _template(said: str, where: str, optional: bool) -> Getter:
    parts: list[tuple[str, Getter | None, str]] = []
    try:
        for literal, name, spec, conversion in Formatter().parse(said):
            if conversion or not _SPEC.fullmatch(spec or ""):
                raise ValueError(f"{{{name}!{conversion}:{spec}}}: widths such as :012d are known")
            parts.append((literal, _path(name, optional) if name else None, spec or ""))
    except ValueError as error:
        raise ConfigError(f"{where}: {said!r} is no template: {error}") from error

    def read(record: Record) -> str | None:
        text = ""
        for literal, value_of, spec in parts:
            text += literal
            if value_of is not None:
                value = value_of(record)
                if value is None or value == "":
                    return None
                try:
                    text += format(value, spec)
                except (TypeError, ValueError) as error:
                    problem = f"{said!r} cannot hold {shorten(value)}: {error}"
                    raise record.invalid(problem) from error
        return text

    return read
