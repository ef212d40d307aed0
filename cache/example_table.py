"""What an example is, what a dataset is, and a split's examples as a table, column by column."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pyarrow as pa

from ..errors import CacheError
from .atomic import shorten
from .keys import BLANK_KEY, KEY_BYTES
from .manifest import SCHEMA_VERSION

Task = Literal["vqa", "label", "text"]
TASKS: tuple[Task, ...] = get_args(Task)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
KEY_PREFIX = "key."
PATH_PREFIX = "path."
_ROWS_AT_ONCE = 4096


@dataclass(frozen=True, slots=True)
class Example:
    """One question, utterance or text with its media.

    Attributes:
        id: Unique within its split.
        answer: The training target, or None where it is not known.
        answers: All reference answers, such as the ten of VQAv2.
        answer_type: As the dataset names it, such as "yes/no".
        media: The key of each usable medium, by modality.
        paths: Where each medium was, relative to the data folder, by modality.
        span_seconds: The part `[start, end)` of its clip that the annotations mean; None is the
            whole. It is in the medium's key, and not stored beside it.
        meta: Whatever else the dataset says.
    """

    id: str
    text: str
    answer: str | None = None
    answers: tuple[str, ...] = ()
    answer_type: str | None = None
    question_type: str | None = None
    media: Mapping[str, bytes] = field(default_factory=dict)
    paths: Mapping[str, str] = field(default_factory=dict)
    span_seconds: tuple[float, float] | None = None
    meta: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class DatasetInfo:
    """What a dataset is.

    Attributes:
        name: Its folder in the cache.
        adapter: What read it, such as "vqav2".
        task: `vqa` (open answers scored the official way), `label` (one of `labels`) or `text`.
        labels: The closed set of answers of a `label` task.
        positive: The label that precision and recall are about.
        splits: The number of examples by split.
    """

    name: str
    adapter: str
    task: Task
    labels: tuple[str, ...] = ()
    positive: str | None = None
    modalities: tuple[str, ...] = ()
    splits: Mapping[str, int] = field(default_factory=dict)
    schema_version: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", tuple(self.labels))
        object.__setattr__(self, "modalities", tuple(self.modalities))
        object.__setattr__(self, "splits", dict(self.splits))
        words = (self.name, self.adapter, *self.labels, *self.modalities, self.positive or "")
        if wrong := [word for word in words if not isinstance(word, str)]:
            raise CacheError(f"a dataset is described in texts; got {shorten(wrong[0])}")
        if wrong := [n for n in self.splits.values() if type(n) is not int or not 0 <= n < 2**63]:
            raise CacheError(f"a split has a number of examples; got {shorten(wrong[0])}")
        for kind, name in [("dataset", self.name), *(("split", split) for split in self.splits)]:
            if not _NAME.fullmatch(name):
                raise CacheError(
                    f"{name!r} cannot name a {kind}: use at most 100 letters, digits, . _ and -"
                )
        if self.task not in TASKS:
            raise CacheError(f"unknown task {self.task!r}; one of {', '.join(TASKS)}")
        if self.positive is not None and self.positive not in self.labels:
            raise CacheError(f"positive label {self.positive!r} is not among {self.labels}")


@dataclass(frozen=True)
class SplitFile:
    """Where a split's examples lie on this machine, and the sha256 of that file in hex."""

    folder: Path
    split: str
    sha256: str


class ExampleTable:
    """The examples of one split (or some of them), of which a column is taken when it is used.

    Args:
        table: All examples of the split.
        places: Where those lie in it that this is of, [n] int64; None for all.
        file: What the split was read from, where that is one file.

    Attributes:
        places: As given.
        file: As given.
    """

    def __init__(
        self, table: pa.Table, places: np.ndarray | None = None, file: SplitFile | None = None
    ) -> None:
        self._table = table
        self.places = places
        self.file = file

    def __len__(self) -> int:
        return self._table.num_rows if self.places is None else len(self.places)

    def __iter__(self) -> Iterator[Example]:
        for batch in self._chosen.to_batches(max_chunksize=_ROWS_AT_ONCE):
            yield from map(example_of, batch.to_pylist())

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the examples as they lie on disk."""
        yield from self._chosen.to_batches()

    def holds_same(self, other: "ExampleTable") -> bool:
        """Return whether these are the same examples in the same order."""
        return self._chosen.equals(other._chosen)

    @property
    def whole(self) -> "ExampleTable":
        """All examples of the split."""
        return self if self.places is None else ExampleTable(self._table, None, self.file)

    @property
    def _chosen(self) -> pa.Table:
        return self._table if self.places is None else self._table.take(_int64(self.places))

    def column(self, name: str) -> pa.ChunkedArray:
        """Return a column as it lies on disk."""
        column = self._table[name]
        return column if self.places is None else column.take(_int64(self.places))

    def distinct(self, name: str) -> tuple[list[str | None], np.ndarray]:
        """Return the distinct texts of a column, and each example's place among them, [n] int32."""
        texts = self.column(name).combine_chunks().dictionary_encode(null_encoding="encode")
        return texts.dictionary.to_pylist(), texts.indices.to_numpy()

    @cached_property
    def ids(self) -> list[str]:
        """The id of each example."""
        return self.column("id").to_pylist()

    @cached_property
    def texts(self) -> list[str]:
        """The text of each example."""
        return self.column("text").to_pylist()

    @cached_property
    def answers(self) -> list[str | None]:
        """The training target of each example."""
        return self.column("answer").to_pylist()

    @cached_property
    def references(self) -> list[list[str]]:
        """All reference answers of each example."""
        return self.column("answers").to_pylist()

    @cached_property
    def answer_types(self) -> list[str | None]:
        """The answer type of each example."""
        return self.column("answer_type").to_pylist()

    @cached_property
    def question_types(self) -> list[str | None]:
        """The question type of each example."""
        return self.column("question_type").to_pylist()

    @property
    def modalities(self) -> tuple[str, ...]:
        """The kinds of media that the dataset has."""
        names = self._table.column_names
        return tuple(n.removeprefix(KEY_PREFIX) for n in names if n.startswith(KEY_PREFIX))

    def keys(self, modality: str) -> list[bytes | None]:
        """Return the key of each example's medium, None where it has none that is usable."""
        return self._keys(modality).to_pylist()

    def packed_keys(self, modality: str) -> np.ndarray:
        """Return the same as an array `[n, 32] uint8`, with `BLANK_KEY` in place of None."""
        column = self._keys(modality)
        parts = [np.empty((0, KEY_BYTES), dtype=np.uint8)]
        for part in column.chunks:  # a scalar is made where it is needed: pyarrow asks pandas then
            whole = part.fill_null(pa.scalar(BLANK_KEY, part.type)) if part.null_count else part
            end = whole.offset + len(whole)
            raw = np.frombuffer(whole.buffers()[1], dtype=np.uint8, count=end * KEY_BYTES)
            parts.append(raw.reshape(-1, KEY_BYTES)[whole.offset :])
        return np.concatenate(parts)

    def _keys(self, modality: str) -> pa.ChunkedArray:
        if modality not in self.modalities:
            raise CacheError(
                f"these examples have {', '.join(self.modalities) or 'no media'}, not {modality!r}"
            )
        return self.column(KEY_PREFIX + modality)

    def meta(self, name: str) -> list[str | None]:
        """Return what each example's meta says under a name, None where it says nothing."""
        rows: list[list[tuple[str, str]] | None] = self.column("meta").to_pylist()
        return [dict(row or ()).get(name) for row in rows]

    @classmethod
    def joined(cls, tables: "Sequence[ExampleTable]") -> "ExampleTable":
        """Return the examples of several splits of one dataset, one after the other."""
        return cls(pa.concat_tables([part._chosen for part in tables]))

    def take(self, indices: Sequence[int] | np.ndarray) -> "ExampleTable":
        """Return the examples at these places, in that order."""
        chosen = np.asarray(indices, dtype=np.int64)
        if len(chosen) and not 0 <= chosen.min() <= chosen.max() < len(self):
            raise IndexError(f"examples {chosen.min()} to {chosen.max()} of {len(self)}")
        if np.array_equal(chosen, np.arange(len(self))):
            return self
        places = chosen if self.places is None else self.places[chosen]
        return ExampleTable(self._table, places, self.file)

    def row(self, index: int) -> Example:
        """Return one example."""
        if not 0 <= index < len(self):
            raise IndexError(f"example {index} of {len(self)}")
        place = index if self.places is None else int(self.places[index])
        return example_of(self._table.slice(place, 1).to_pylist()[0])


def _int64(numbers: np.ndarray) -> pa.Array:
    """Return numbers as Arrow has them; `pa.array` would import pandas where that is installed."""
    held = np.ascontiguousarray(numbers, dtype=np.int64)
    return pa.Array.from_buffers(pa.int64(), len(held), [None, pa.py_buffer(held)])


def example_of(row: Mapping[str, Any]) -> Example:
    """Return the example that a row of these columns says."""
    return Example(
        id=row["id"],
        text=row["text"],
        answer=row["answer"],
        answers=tuple(row["answers"]),
        answer_type=row["answer_type"],
        question_type=row["question_type"],
        media=_by_modality(row, KEY_PREFIX),
        paths=_by_modality(row, PATH_PREFIX),
        meta=dict(row["meta"]),
    )


def _by_modality(row: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    return {
        name.removeprefix(prefix): value
        for name, value in row.items()
        if name.startswith(prefix) and value is not None
    }
