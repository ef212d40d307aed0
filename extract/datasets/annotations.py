"""Annotation files read with checks, so that messages name the file, the record and the field."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from ...cache.atomic import read_json, shorten, unique_names
from ...cache.examples import DatasetInfo, Example
from ...errors import AnnotationInvalid, DatasetMissing
from .json_stream import JsonStream
from .memo import Origin


class Irregular(Exception):
    """Annotations that are wrong, or need to be looked at one by one."""


#: Return the JSON value in an annotation file.
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

    def needed(self, name: str) -> Any:
        """Return a field that must be there."""
        if name not in self.fields:
            held = ", ".join(self.fields) or "none"
            raise self.invalid(f"lacks the field {name!r}; it has: {held}")
        return self.fields[name]

    def invalid(self, problem: str) -> AnnotationInvalid:
        """Return the error that names the place and the problem, to be raised."""
        return AnnotationInvalid(f"{self.where}: {problem}")


def as_record(value: Any, where: str) -> Record:
    """Return a parsed JSON value as a record; it must be an object."""
    if not isinstance(value, dict):
        raise AnnotationInvalid(f"{where}: must be an object, not {shorten(value)}")
    return Record(value, where)


def stream_batches(path: Path, at: str, fields: pa.StructType) -> Iterator[pa.StructArray]:
    """Yield the objects of a list in a JSON file, many at a time; `at` as `stream_records` has it.

    Raises:
        Irregular: If one of them lacks one of the fields, or the file is not as it should be.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            for objects in JsonStream(file).batches_at(_names(at), fields):
                if any(column.null_count for column in objects.flatten()):
                    raise Irregular
                yield objects
    except (OSError, ValueError, RecursionError, pa.ArrowException) as error:
        raise Irregular from error


def stream_records(path: Path, at: str) -> Iterator[tuple[str | None, Any]]:
    """Yield the values that a JSON file holds in a list or an object, these with their names.

    `at` is where: the names that lead there, joined by "/". A file that is not as it should be is
    read again as a whole, which says where the fault is.
    """
    given = 0
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            for pair in JsonStream(file).records_at(_names(at)):
                yield pair
                given += 1
        return
    except (OSError, ValueError, RecursionError):
        values = _whole(path, _names(at))
    yield from islice(values, given, None)


def _names(at: str) -> list[str]:
    return [name for name in at.split("/") if name]


def _whole(path: Path, names: Sequence[str]) -> Iterator[tuple[str | None, Any]]:
    """Yield the same of a file that was read as a whole."""
    value, where = read_annotations(path), str(path)
    for name in names:
        value, where = as_record(value, where).needed(name), f"{where}: {name}"
    if isinstance(value, dict):
        yield from value.items()
    elif isinstance(value, list):
        yield from ((None, item) for item in value)
    else:
        raise AnnotationInvalid(f"{where}: must be a list or an object, not {shorten(value)}")
