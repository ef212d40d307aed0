"""Examples on their way to the disk: their columns, made and checked batch by batch."""

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from ..errors import CacheError
from .example_table import KEY_PREFIX, PATH_PREFIX, DatasetInfo, Example, ExampleTable
from .keys import KEY_BYTES

#: Of an Arrow batch on disk.
BATCH_ROWS = 16_384

_TEXT = pa.large_string()
_PLAIN = ("id", "text", "answer", "answer_type", "question_type")
_SAID = (
    ("id", _TEXT),
    ("text", _TEXT),
    ("answer", _TEXT),
    ("answers", pa.large_list(_TEXT)),
    ("answer_type", _TEXT),
    ("question_type", _TEXT),
    ("meta", pa.map_(_TEXT, _TEXT)),
)


class ExampleBatches(Protocol):
    """A split's examples as they lie on disk, read batch by batch, as often as asked."""

    def __len__(self) -> int:
        """Return the number of examples."""
        ...

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the examples in the columns of `schema_of`."""
        ...


class UniqueIds:
    """Whether ids are unique, at eight bytes an id."""

    def __init__(self) -> None:
        self._hashes = array("q")

    def add(self, ids: Iterable[str | int]) -> None:
        """Note more ids."""
        self._hashes.extend(map(hash, ids))

    def repeated(self, ids: Iterable[str | int]) -> str | int | None:
        """Return the first id that came twice; they are gone through again only where one may."""
        hashes = np.sort(np.frombuffer(self._hashes, dtype=np.int64))
        doubtful = set(hashes[1:][hashes[1:] == hashes[:-1]].tolist())
        seen: set[str | int] = set()
        for id_ in ids if doubtful else ():
            if id_ in seen:
                return id_
            if hash(id_) in doubtful:
                seen.add(id_)
        return None


def example_table(info: DatasetInfo, examples: Sequence[Example]) -> ExampleTable:
    """Return examples as a table that lies on no disk."""
    return ExampleTable(pa.Table.from_batches(list(batches_of(info, "examples", examples))))


def schema_of(modalities: Iterable[str]) -> pa.Schema:
    """Return the columns of examples on disk."""
    media = [
        field
        for name in modalities
        for field in ((KEY_PREFIX + name, pa.binary(KEY_BYTES)), (PATH_PREFIX + name, _TEXT))
    ]
    return pa.schema([*_SAID, *media])


def batches_of(
    info: DatasetInfo, split: str, examples: Sequence[Example] | ExampleBatches
) -> Iterator[pa.RecordBatch]:
    """Yield a split's examples as they lie on disk; there is one batch at least."""
    if not isinstance(examples, Sequence):
        yield from examples.batches()
        return
    for start in range(0, max(len(examples), 1), BATCH_ROWS):
        yield _batch(info, split, examples[start : start + BATCH_ROWS])


def _batch(info: DatasetInfo, split: str, examples: Sequence[Example]) -> pa.RecordBatch:
    where = f"dataset {info.name!r}, split {split!r}"
    for example in examples:
        unknown = (set(example.media) | set(example.paths)) - set(info.modalities)
        problem = f"modality {min(unknown)!r} is not among {info.modalities}" if unknown else ""
        if any(len(key) != KEY_BYTES for key in example.media.values()):
            problem = f"a medium's key has {KEY_BYTES} bytes"
        if problem:
            raise CacheError(f"{where}, example {example.id!r}: {problem}")
    columns = said_columns(examples, where, info.modalities)
    keys = [[e.media.get(name) for e in examples] for name in info.modalities]
    return with_keys(columns, info.modalities, keys)


def with_keys(
    columns: Mapping[str, pa.Array], modalities: Sequence[str], keys: Sequence[Sequence[Any]]
) -> pa.RecordBatch:
    """Return `said_columns` with the keys of the media, by modality, as they lie on disk."""
    named = {KEY_PREFIX + name: own for name, own in zip(modalities, keys, strict=True)}
    schema = schema_of(modalities)
    arrays = [
        pa.array(named[field.name], field.type) if field.name in named else columns[field.name]
        for field in schema
    ]
    return pa.record_batch(arrays, schema)


def said_columns(
    examples: Sequence[Example], where: str, modalities: Iterable[str]
) -> dict[str, pa.Array]:
    """Return what examples say, by column: all but the keys of their media."""
    columns = {name: [getattr(e, name) for e in examples] for name in _PLAIN}
    columns["answers"] = [e.answers for e in examples]
    columns["meta"] = [sorted(e.meta.items()) if e.meta else () for e in examples]
    types = {**dict(_SAID), **{PATH_PREFIX + name: _TEXT for name in modalities}}
    for name in modalities:
        columns[PATH_PREFIX + name] = [e.paths.get(name) for e in examples]
    try:
        return {name: pa.array(columns[name], kind) for name, kind in types.items()}
    except UnicodeEncodeError as error:
        wrong = next(example for example in examples if not _is_unicode(example))
        raise CacheError(f"{where}, example {wrong.id!r}: {error}") from error


def path_column(modality: str) -> str:
    """Return the name of the column that has the media's paths."""
    return PATH_PREFIX + modality


def _is_unicode(example: Example) -> bool:
    words = (example.id, example.text, example.answer or "", *example.answers)
    types = (example.answer_type or "", example.question_type or "")
    others = (*example.paths.values(), *example.meta, *example.meta.values())
    return not any("\ud800" <= letter <= "\udfff" for letter in "".join(words + types + others))
