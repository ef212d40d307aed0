"""A dataset's examples: texts, answers and the keys of their media, one Arrow file a split."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pyarrow as pa

from ..errors import CacheError, ShardCorrupt, did_you_mean
from .atomic import (
    exclusive,
    make_folder,
    read_json_object,
    remove_temporary_files,
    replacing,
    write_atomic,
)
from .commits import FAILURES_NAME, Failure, read_failure_lines, write_failures
from .keys import KEY_BYTES, file_sha256
from .layout import EXAMPLES_NAME
from .manifest import SCHEMA_VERSION, check_schema_version
from .shard import map_file

DATASET_NAME = "dataset.json"

Task = Literal["vqa", "label", "text"]
TASKS: tuple[Task, ...] = get_args(Task)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_KEY_PREFIX = "key."
_PATH_PREFIX = "path."
_ROWS_AT_ONCE = 4096
_MAP = pa.map_(pa.large_string(), pa.large_string())


@dataclass(frozen=True, slots=True)
class Example:
    """One question, utterance or text with its media.

    Attributes:
        id: Unique within its split.
        text: What the language model reads.
        answer: The training target, or None where it is not known.
        answers: All reference answers, such as the ten of VQAv2.
        answer_type: As the dataset names it, such as "yes/no".
        question_type: As the dataset names it.
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
        task: How it is answered and scored.
        labels: The closed set of answers of a "label" task.
        positive: The label that precision and recall are about.
        modalities: The kinds of media its examples can have.
        splits: The number of examples by split.
        schema_version: Of this layout on disk.
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
        for kind, name in [("dataset", self.name), *(("split", split) for split in self.splits)]:
            if not _NAME.fullmatch(name):
                raise CacheError(f"{name!r} cannot name a {kind}: use letters, digits, . _ and -")
        if self.task not in TASKS:
            raise CacheError(f"unknown task {self.task!r}; one of {', '.join(TASKS)}")
        if self.positive is not None and self.positive not in self.labels:
            raise CacheError(f"positive label {self.positive!r} is not among {self.labels}")


@dataclass(frozen=True)
class _FileRecord:
    """The size and sha256 (in hex) that a split's file was written with."""

    size_bytes: int
    sha256: str


class ExampleTable:
    """The examples of one split (or some of them), column by column.

    Args:
        table: As it lies on disk.
    """

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    def __len__(self) -> int:
        return self._table.num_rows

    def __iter__(self) -> Iterator[Example]:
        for batch in self._table.to_batches(max_chunksize=_ROWS_AT_ONCE):
            yield from map(_example, batch.to_pylist())

    @cached_property
    def ids(self) -> list[str]:
        """The id of each example."""
        return self._table["id"].to_pylist()

    @cached_property
    def texts(self) -> list[str]:
        """The text of each example."""
        return self._table["text"].to_pylist()

    @cached_property
    def answers(self) -> list[str | None]:
        """The training target of each example."""
        return self._table["answer"].to_pylist()

    @cached_property
    def references(self) -> list[list[str]]:
        """All reference answers of each example."""
        return self._table["answers"].to_pylist()

    @cached_property
    def answer_types(self) -> list[str | None]:
        """The answer type of each example."""
        return self._table["answer_type"].to_pylist()

    @cached_property
    def question_types(self) -> list[str | None]:
        """The question type of each example."""
        return self._table["question_type"].to_pylist()

    @property
    def modalities(self) -> tuple[str, ...]:
        """The kinds of media that the dataset has."""
        names = self._table.column_names
        return tuple(n.removeprefix(_KEY_PREFIX) for n in names if n.startswith(_KEY_PREFIX))

    def keys(self, modality: str) -> list[bytes | None]:
        """Return the key of each example's medium, None where it has none that is usable.

        Raises:
            CacheError: If the dataset has no such modality.
        """
        if modality not in self.modalities:
            raise CacheError(
                f"these examples have {', '.join(self.modalities) or 'no media'}, not {modality!r}"
            )
        return self._table[_KEY_PREFIX + modality].to_pylist()

    def meta(self, name: str) -> list[str | None]:
        """Return what each example's meta says under a name, None where it says nothing."""
        rows: list[list[tuple[str, str]] | None] = self._table["meta"].to_pylist()
        return [dict(row or ()).get(name) for row in rows]

    @classmethod
    def joined(cls, tables: "Sequence[ExampleTable]") -> "ExampleTable":
        """Return the examples of several splits of one dataset, one after the other."""
        return cls(pa.concat_tables([one._table for one in tables]))

    def take(self, indices: Sequence[int] | np.ndarray) -> "ExampleTable":
        """Return the examples at these places, in that order."""
        places = pa.array(np.asarray(indices, dtype=np.int64))
        return ExampleTable(self._table.take(places))

    def row(self, index: int) -> Example:
        """Return one example.

        Raises:
            IndexError: If there are not so many.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"example {index} of {len(self)}")
        return _example(self._table.slice(index, 1).to_pylist()[0])


def example_table(info: DatasetInfo, examples: Sequence[Example]) -> ExampleTable:
    """Return examples as a table that lies on no disk.

    Raises:
        CacheError: If an id comes twice, or a medium is of an undeclared modality.
    """
    return ExampleTable(_table(info, "examples", examples))


def write_examples(
    cache_root: Path,
    info: DatasetInfo,
    splits: Mapping[str, Sequence[Example]],
    failures: Sequence[Failure] = (),
) -> None:
    """Replace a dataset's examples, file by file, `dataset.json` last.

    Args:
        cache_root: The cache's folder.
        info: What the dataset is; its `splits` must be the numbers of examples given.
        splits: The examples of each split.
        failures: Media that could not be used by any encoder: missing, outside, empty.

    Raises:
        CacheError: If an id comes twice, a medium has an undeclared modality, or numbers disagree.
    """
    folder = _folder(cache_root, info.name)
    counts = {split: len(examples) for split, examples in splits.items()}
    if counts != dict(info.splits):
        raise CacheError(f"dataset {info.name!r}: splits {dict(info.splits)} said, {counts} given")
    tables = {split: _table(info, split, examples) for split, examples in splits.items()}
    make_folder(folder)
    with exclusive(folder, doing=f"writing dataset {info.name!r}"):
        remove_temporary_files(folder)
        files = {split: _write_table(folder, split, table) for split, table in tables.items()}
        write_failures(folder / FAILURES_NAME, failures)
        records = {split: asdict(record) for split, record in files.items()}
        content = {**asdict(info), "files": records}
        write_atomic(folder / DATASET_NAME, json.dumps(content, indent=2, sort_keys=True) + "\n")
        for path in folder.glob("*.arrow"):
            if path.stem not in splits:
                path.unlink()


def read_dataset(cache_root: Path, name: str) -> DatasetInfo:
    """Return what a dataset is.

    Raises:
        CacheError: If the cache does not hold it; the message names the command that makes it.
        CacheVersionError: If a newer version of this package wrote it.
    """
    return _read(cache_root, name)[0]


def read_datasets(cache_root: Path) -> list[DatasetInfo]:
    """Return all datasets of a cache, by name."""
    paths = (Path(cache_root) / EXAMPLES_NAME).glob(f"*/{DATASET_NAME}")
    return [read_dataset(cache_root, path.parent.name) for path in sorted(paths)]


def read_failures(cache_root: Path, name: str) -> list[Failure]:
    """Return the media of a dataset that no encoder was given: missing, outside, empty."""
    read_dataset(cache_root, name)
    return read_failure_lines(_folder(cache_root, name) / FAILURES_NAME)


def read_examples(cache_root: Path, name: str, split: str) -> ExampleTable:
    """Return the examples of one split, over a memory map.

    Raises:
        CacheError: If the dataset or the split is not there.
        ShardCorrupt: If the file is missing or not the one that was written.
    """
    info, files = _read(cache_root, name)
    if split not in info.splits:
        raise CacheError(
            f"dataset {name!r} has no split {split!r}; it has {', '.join(info.splits)}"
        )
    path = _folder(cache_root, name) / f"{split}.arrow"
    fix = f"run: pfcli extract --dataset {name}"
    if not path.exists():
        raise ShardCorrupt(f"{path}: missing; {fix}")
    size_bytes = path.stat().st_size
    if size_bytes != files[split].size_bytes:
        raise ShardCorrupt(
            f"{path}: {files[split].size_bytes} bytes were written, it has {size_bytes}; {fix}"
        )
    try:
        table = pa.ipc.open_file(pa.BufferReader(map_file(path))).read_all()
    except (pa.ArrowException, OSError) as error:
        raise ShardCorrupt(f"{path}: not an Arrow file: {error}; {fix}") from error
    if table.num_rows != info.splits[split]:
        raise ShardCorrupt(
            f"{path}: {info.splits[split]} examples were written, it has {table.num_rows}; {fix}"
        )
    return ExampleTable(table)


def example_files(cache_root: Path, name: str) -> dict[Path, str]:
    """Return the path of each split's file and the sha256, in hex, that it was written with."""
    folder = _folder(cache_root, name)
    _, files = _read(cache_root, name)
    return {folder / f"{split}.arrow": entry.sha256 for split, entry in files.items()}


def _folder(cache_root: Path, name: str) -> Path:
    return Path(cache_root) / EXAMPLES_NAME / name


def _read(cache_root: Path, name: str) -> tuple[DatasetInfo, dict[str, _FileRecord]]:
    path = _folder(cache_root, name) / DATASET_NAME
    if not path.exists():
        held = [folder.parent.name for folder in path.parent.parent.glob(f"*/{DATASET_NAME}")]
        raise CacheError(
            f"no dataset {name!r} in {cache_root}{did_you_mean(name, held)}; "
            f"run: pfcli extract --dataset {name}"
        )
    content = read_json_object(path)
    check_schema_version(path, content)
    files = content.pop("files", {})
    try:
        info = DatasetInfo(**content)
        files = {split: _FileRecord(**files[split]) for split in info.splits}
    except (KeyError, TypeError, ValueError) as error:
        raise CacheError(f"{path}: not a dataset of this package: {error!r}") from error
    return info, files


def _write_table(folder: Path, split: str, table: pa.Table) -> _FileRecord:
    path = folder / f"{split}.arrow"
    with replacing(path) as temporary:
        with (
            pa.OSFile(str(temporary), "wb") as sink,
            pa.ipc.new_file(sink, table.schema) as writer,
        ):
            writer.write_table(table)
        sha256 = file_sha256(temporary).hex()
        return _FileRecord(temporary.stat().st_size, sha256)


def _table(info: DatasetInfo, split: str, examples: Sequence[Example]) -> pa.Table:
    _check_examples(info, split, examples)
    try:
        return pa.table(_columns(info, examples))
    except UnicodeEncodeError as error:
        wrong = next(example for example in examples if not _is_unicode(example))
        raise CacheError(
            f"dataset {info.name!r}, split {split!r}, example {wrong.id!r}: {error}"
        ) from error


def _is_unicode(example: Example) -> bool:
    words = (example.id, example.text, example.answer or "", *example.answers)
    types = (example.answer_type or "", example.question_type or "")
    others = (*example.paths.values(), *example.meta, *example.meta.values())
    return not any("\ud800" <= letter <= "\udfff" for letter in "".join(words + types + others))


def _columns(info: DatasetInfo, examples: Sequence[Example]) -> dict[str, pa.Array]:
    text = pa.large_string()
    columns = {
        "id": pa.array([e.id for e in examples], text),
        "text": pa.array([e.text for e in examples], text),
        "answer": pa.array([e.answer for e in examples], text),
        "answers": pa.array([e.answers for e in examples], pa.large_list(text)),
        "answer_type": pa.array([e.answer_type for e in examples], text),
        "question_type": pa.array([e.question_type for e in examples], text),
        "meta": pa.array([sorted(e.meta.items()) for e in examples], _MAP),
    }
    for modality in info.modalities:
        keys = [e.media.get(modality) for e in examples]
        columns[_KEY_PREFIX + modality] = pa.array(keys, pa.binary(KEY_BYTES))
        columns[_PATH_PREFIX + modality] = pa.array([e.paths.get(modality) for e in examples], text)
    return columns


def _check_examples(info: DatasetInfo, split: str, examples: Sequence[Example]) -> None:
    seen: set[str] = set()
    for example in examples:
        where = f"dataset {info.name!r}, split {split!r}, example {example.id!r}"
        if example.id in seen:
            raise CacheError(f"{where}: this id comes twice")
        seen.add(example.id)
        unknown = (set(example.media) | set(example.paths)) - set(info.modalities)
        if unknown:
            raise CacheError(f"{where}: modality {min(unknown)!r} is not among {info.modalities}")
        if any(len(key) != KEY_BYTES for key in example.media.values()):
            raise CacheError(f"{where}: a medium's key has {KEY_BYTES} bytes")


def _example(row: Mapping[str, Any]) -> Example:
    return Example(
        id=row["id"],
        text=row["text"],
        answer=row["answer"],
        answers=tuple(row["answers"]),
        answer_type=row["answer_type"],
        question_type=row["question_type"],
        media=_by_modality(row, _KEY_PREFIX),
        paths=_by_modality(row, _PATH_PREFIX),
        meta=dict(row["meta"]),
    )


def _by_modality(row: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    return {
        name.removeprefix(prefix): value
        for name, value in row.items()
        if name.startswith(prefix) and value is not None
    }
