"""A dataset's examples on disk: one Arrow file a split, and `dataset.json`, which names them."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePath

import pyarrow as pa

from ..errors import CacheBusy, CacheError, ShardCorrupt, did_you_mean
from .atomic import parse_json_object
from .checked import check_files
from .commits import Failure, read_failure_lines
from .example_batches import ExampleBatches, UniqueIds, batches_of, schema_of
from .example_table import DatasetInfo, Example, ExampleTable, SplitFile
from .layout import EXAMPLES_NAME
from .manifest import SCHEMA_VERSION, check_schema_version
from .objects import Store, store_at
from .places import Placed, place_of
from .sealed import seal, unseal
from .shard import map_file

DATASET_NAME = "dataset.json"

_FAILURES = "failures"
_HASH_DIGITS = 16
_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class _Dataset:
    """What `dataset.json` says: the dataset, its splits' files, and that of the failures."""

    info: DatasetInfo
    splits: Mapping[str, Placed]
    failures: Placed | None

    @property
    def files(self) -> list[Placed]:
        return [*self.splits.values(), *([self.failures] if self.failures else [])]


def write_examples(
    cache_root: PurePath,
    info: DatasetInfo,
    splits: Mapping[str, Sequence[Example] | ExampleBatches],
    failures: Sequence[Failure] = (),
) -> str:
    """Replace a dataset's examples as `dataset.json` is replaced; return their `examples_sha256`.

    Files lie under names made of their hashes, so the former examples stay whole until then; they
    are removed after it. Its `splits` must be the numbers of examples given; failures are media
    that could not be used by any encoder: missing, outside, empty.
    """
    counts = {split: len(examples) for split, examples in splits.items()}
    if counts != dict(info.splits):
        raise CacheError(f"dataset {info.name!r}: splits {dict(info.splits)} said, {counts} given")
    folder = store_at(_folder(cache_root, info.name))
    former = _files_named(folder)
    placed: dict[str, Placed] = {}
    try:
        for split, examples in splits.items():
            placed[split] = _place_split(folder, info, split, examples)
        failed = _place_failures(folder, failures)
        files = {split: asdict(record) for split, record in placed.items()}
        described = {**asdict(replace(info, schema_version=SCHEMA_VERSION)), "files": files}
        content = seal({**described, _FAILURES: asdict(failed)})
        folder.put(DATASET_NAME, content)
    except BaseException:
        for name in {record.name for record in placed.values()} - former - _files_named(folder):
            folder.delete(name)
        raise
    for name in former - _files_named(folder):
        folder.delete(name)
    if any(folder.size(file.name) != file.size_bytes for file in (*placed.values(), failed)):
        raise CacheBusy(
            f"{folder.root}: another process replaced dataset {info.name!r} in the same instant; "
            f"run again: pfcli extract --dataset {info.name}"
        )
    folder.tidy()
    return hashlib.sha256(content).hexdigest()


def examples_sha256(cache_root: PurePath, name: str) -> str:
    """Return what a dataset's examples are known by: the sha256 of `dataset.json`, which says all.

    Where there are none, it is that of nothing.
    """
    content = store_at(_folder(cache_root, name)).get(DATASET_NAME) or b""
    return hashlib.sha256(content).hexdigest()


def read_dataset(cache_root: PurePath, name: str) -> DatasetInfo:
    """Return what a dataset is."""
    return _read(cache_root, name).info


def read_datasets(cache_root: PurePath) -> list[DatasetInfo]:
    """Return all datasets of a cache, by name."""
    return [read_dataset(cache_root, name) for name in _names(cache_root)]


def read_failures(cache_root: PurePath, name: str) -> list[Failure]:
    """Return the media of a dataset that no encoder was given: missing, outside, empty."""
    folder, record = store_at(_folder(cache_root, name)), _read(cache_root, name).failures
    if record is None:
        return read_failure_lines(folder.path(f"{_FAILURES}.jsonl"))  # as version 1 has them
    check_files(folder.root, {record.name: record.sha256}, fix=_fix(name))
    return read_failure_lines(folder.path(record.name))


def read_examples(cache_root: PurePath, name: str, split: str) -> ExampleTable:
    """Return the examples of one split, over a memory map of a file whose bytes were checked."""
    dataset = _read(cache_root, name)
    if split not in dataset.splits:
        raise CacheError(
            f"dataset {name!r} has no split {split!r}; it has {', '.join(dataset.splits)}"
        )
    folder, record = _folder(cache_root, name), dataset.splits[split]

    def validate(path: Path) -> None:
        _check_table(path, dataset.info, split)

    check_files(folder, {record.name: record.sha256}, fix=_fix(name), validate=validate)
    path = store_at(folder).path(record.name)
    return ExampleTable(_read_table(path, name), file=SplitFile(path.parent, split, record.sha256))


def dataset_files(cache_root: PurePath, name: str) -> list[Placed]:
    """Return the files that a dataset consists of, beside `dataset.json`."""
    return _read(cache_root, name).files


def _folder(cache_root: PurePath, name: str) -> PurePath:
    return place_of(cache_root) / EXAMPLES_NAME / name


def _names(cache_root: PurePath) -> list[str]:
    folder = store_at(place_of(cache_root) / EXAMPLES_NAME)
    return [name for name in folder.folders() if folder.size(f"{name}/{DATASET_NAME}") is not None]


def _fix(name: str) -> str:
    return f"run: pfcli extract --dataset {name}"


def _read(cache_root: PurePath, name: str) -> _Dataset:
    folder = store_at(_folder(cache_root, name))
    data = folder.get(DATASET_NAME)
    if data is None:
        nearest = did_you_mean(name, _names(cache_root))
        raise CacheError(f"no dataset {name!r} in {cache_root}{nearest}; {_fix(name)}")
    path = folder.root / DATASET_NAME
    content = parse_json_object(data, str(path))
    check_schema_version(path, content)
    if content["schema_version"] > 1:
        content = unseal(data, path)
    try:
        files, failures = content.pop("files"), content.pop(_FAILURES, None)
        info = DatasetInfo(**content)
        splits = {split: _record(files[split], f"{split}.arrow") for split in info.splits}
        dataset = _Dataset(info, splits, None if failures is None else _record(failures, ""))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise CacheError(f"{path}: not a dataset of this package: {error!r}") from error
    if info.name != name:
        raise CacheError(f"{path}: says it is dataset {info.name!r}, its folder {name!r}")
    return dataset


def _record(content: Mapping[str, object], name: str) -> Placed:
    """Return a file's record; version 1 names a split's file by the split alone."""
    record = Placed(**{"name": name, **content})  # pyright: ignore[reportArgumentType]
    if not _FILE.fullmatch(record.name):
        raise CacheError(f"{record.name!r} is not the name of a file in this folder")
    return record


def _files_named(folder: Store) -> set[str]:
    """Return the names of the files that `dataset.json` names; a damaged one names none."""
    try:
        dataset = _read(folder.root.parent.parent, folder.root.name)
    except CacheError:  # it is about to be replaced
        return set()
    old = {f"{_FAILURES}.jsonl", ".lock"} if dataset.info.schema_version == 1 else set()
    return {record.name for record in dataset.files} | old


def _place_split(
    folder: Store, info: DatasetInfo, split: str, examples: Sequence[Example] | ExampleBatches
) -> Placed:
    ids = UniqueIds()

    def write(path: Path) -> None:
        schema = schema_of(info.modalities)
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
            for batch in batches_of(info, split, examples):
                ids.add(batch["id"].to_pylist())
                writer.write_batch(batch)
        batches = batches_of(info, split, examples)
        twice = ids.repeated(id_ for batch in batches for id_ in batch["id"].to_pylist())
        if twice is not None:
            where = f"dataset {info.name!r}, split {split!r}, example {twice!r}"
            raise CacheError(f"{where}: this id comes twice")

    return folder.place(write, lambda sha256: f"{split}-{sha256[:_HASH_DIGITS]}.arrow")


def _place_failures(folder: Store, failures: Iterable[Failure]) -> Placed:
    lines = "".join(json.dumps(failure.to_json()) + "\n" for failure in failures)
    return folder.place(
        lambda path: path.write_text(lines),
        lambda sha256: f"{_FAILURES}-{sha256[:_HASH_DIGITS]}.jsonl",
    )


def _read_table(path: Path, dataset: str) -> pa.Table:
    try:
        return pa.ipc.open_file(pa.BufferReader(map_file(path))).read_all()
    except (pa.ArrowException, OSError) as error:
        raise ShardCorrupt(f"{path}: not an Arrow file: {error}; {_fix(dataset)}") from error


def _check_table(path: Path, info: DatasetInfo, split: str) -> None:
    """Check that a file has the columns and rows of a split, and nothing that points outside.

    It is read batch by batch, so that no more of it is in memory.
    """
    expected, rows = schema_of(info.modalities), 0
    try:
        with pa.OSFile(str(path)) as source, pa.ipc.open_file(source) as reader:
            if not reader.schema.equals(expected):
                raise ShardCorrupt(f"{path}: not a table of the columns {expected.names}")
            for number in range(reader.num_record_batches):
                batch = reader.get_batch(number)
                batch.validate(full=True)
                rows += batch.num_rows
    except (pa.ArrowException, OSError) as error:
        raise ShardCorrupt(f"{path}: not a sound Arrow file: {error}; {_fix(info.name)}") from error
    if rows != info.splits[split]:
        raise ShardCorrupt(f"{path}: {info.splits[split]} examples were written, it has {rows}")
