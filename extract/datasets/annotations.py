"""Annotation files read with checks, so that messages name the file, the record and the field."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa

from ...cache.atomic import read_json_object, shorten, unique_names
from ...cache.examples import DatasetInfo, Example
from ...errors import AnnotationInvalid, DatasetMissing
from .json_stream import JsonStream
from .memo import Origin

T = TypeVar("T")


class Irregular(Exception):
    """Annotations that are wrong, or need to be looked at one by one."""


_KINDS = {str: "text", int: "a whole number", bool: "true or false", list: "a list"}

#: Return the JSON object in an annotation file.
read_annotations = partial(
    read_json_object, error=AnnotationInvalid, missing=DatasetMissing, hook=unique_names
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
        if name not in self.fields:
            held = ", ".join(self.fields) or "none"
            raise self.invalid(f"lacks the field {name!r}; it has: {held}")
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise self.wrong(name, _KINDS[kind])
        return value

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


def stream_batches(path: Path, name: str, fields: pa.StructType) -> Iterator[pa.StructArray]:
    """Yield the objects of the list `name` in the JSON object that a file holds, many at a time.

    Raises:
        Irregular: If one of them lacks one of the fields, or the file is not as it should be.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            for objects in JsonStream(file).batches_of(name, fields):
                if any(column.null_count for column in objects.flatten()):
                    raise Irregular
                yield objects
    except (OSError, ValueError, RecursionError, pa.ArrowException) as error:
        raise Irregular from error


def stream_list(path: Path, name: str) -> Iterator[Any]:
    """Yield the values of the list `name` in the JSON object that a file holds, as it is read.

    A file that is not as it should be is read again as a whole, which says where the fault is.
    """
    given = 0
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            for value in JsonStream(file).items_of(name):
                yield value
                given += 1
        return
    except (OSError, ValueError, RecursionError):
        values = Record(read_annotations(path), str(path)).get(name, list)
    yield from values[given:]
