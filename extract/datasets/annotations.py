"""Annotation files read with checks, so that messages name the file, the record and the field."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from ...cache.atomic import read_json, shorten, unique_names
from ...cache.examples import DatasetInfo, Example
from ...errors import AnnotationInvalid, DatasetMissing
from .json_stream import JsonStream
from .memo import Origin

T = TypeVar("T")

_KINDS = {str: "text", int: "a whole number", bool: "true or false", list: "a list"}

#: Return the JSON object or list in an annotation file.
read_annotations = partial(
    read_json, error=AnnotationInvalid, missing=DatasetMissing, hook=unique_names
)


@dataclass(frozen=True)
class RawDataset:
    """A dataset's annotations, before any medium is opened: what an adapter returns.

    `info` does not know the numbers of examples yet; `splits` has them in the annotations' order,
    many of them in a `Spool`; `root` is the data folder that their paths are relative to, `origin`
    what the annotations were read from, where that can be looked at again.
    """

    info: DatasetInfo
    splits: Mapping[str, Sequence[Example]]
    root: Path
    origin: Origin | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """One annotation, and the words that say where it is: `questions.json: question_id 12`."""

    fields: Mapping[str, Any]
    where: str

    def get(self, name: str, kind: type[T]) -> T:
        """Return a field that must be there and of one type."""
        value = self.fields.get(name)
        if type(value) is kind:
            return value
        value = self.needed(name)
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise self.wrong(name, _KINDS[kind])
        return value

    def needed(self, name: str) -> Any:
        """Return a field that must be there."""
        if name not in self.fields:
            held = ", ".join(self.fields) or "none"
            raise self.invalid(f"lacks the field {name!r}; it has: {held}")
        return self.fields[name]

    def wrong(self, name: str, expected: str) -> AnnotationInvalid:
        """Return the error of a field that is not what it must be, to be raised."""
        return self.invalid(f"field {name!r} must be {expected}, not {shorten(self.fields[name])}")

    def invalid(self, problem: str) -> AnnotationInvalid:
        """Return the error that names the place and the problem, to be raised."""
        return AnnotationInvalid(f"{self.where}: {problem}")


def as_record(value: Any, where: str) -> Record:
    """Return a parsed JSON value as a record; it must be an object."""
    if not isinstance(value, dict):
        raise AnnotationInvalid(f"{where}: must be an object, not {shorten(value)}")
    return Record(value, where)


def stream_records(path: Path, at: str) -> Iterator[tuple[str | None, Any]]:
    """Yield the values that a JSON file holds in a list or an object, these with their names.

    `at` is where: the names that lead there, joined by "/". A file that is not as it should be is
    read again as a whole, which says where the fault is.
    """
    given, names = 0, [name for name in at.split("/") if name]
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            stream = JsonStream(file)
            for pair in stream.records_at(names):
                yield pair
                given += 1
            if not names:
                stream.end()
        return
    except (OSError, ValueError, RecursionError):
        values = _whole(path, names)
    yield from islice(values, given, None)


def _whole(path: Path, names: Sequence[str]) -> Iterator[tuple[str | None, Any]]:
    """Yield the same of a file that was read as a whole."""
    value = read_annotations(path)
    where = str(path)
    for name in names:
        record = as_record(value, where)
        value = record.needed(name)
        where += f": {name}"
    if isinstance(value, dict):
        yield from value.items()
    elif isinstance(value, list):
        yield from ((None, item) for item in value)
    else:
        raise AnnotationInvalid(f"{where}: must be a list or an object, not {shorten(value)}")
