"""A dataset's examples on disk: one Arrow file a split, and `dataset.json`, which names them."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pyarrow as pa

from ..errors import CacheBusy, CacheError, ShardCorrupt, did_you_mean
from .atomic import parse_json_object, remove_temporary_files
from .checked import check_files
from .commits import Failure, read_failure_lines
from .example_table import DatasetInfo, Example, ExampleTable, table_of
from .layout import EXAMPLES_NAME
from .manifest import SCHEMA_VERSION, check_schema_version
from .objects import Folder, Placed
from .sealed import seal, unseal
from .shard import map_file

DATASET_NAME = "dataset.json"

_FAILURES = "failures"
_HASH_DIGITS = 16


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
    cache_root: Path,
    info: DatasetInfo,
    splits: Mapping[str, Sequence[Example]],
    failures: Sequence[Failure] = (),
) -> None:
    """Replace a dataset's examples, in the instant in which `dataset.json` is replaced.

    Files lie under names made of their hashes, so the former examples stay whole until then; they
    are removed after it. Its `splits` must be the numbers of examples given; failures are media
    that could not be used by any encoder: missing, outside, empty.
    """
    counts = {split: len(examples) for split, examples in splits.items()}
    if counts != dict(info.splits):
        raise CacheError(f"dataset {info.name!r}: splits {dict(info.splits)} said, {counts} given")
    tables = {split: table_of(info, split, examples) for split, examples in splits.items()}
    folder = Folder(_folder(cache_root, info.name))
    former = _files_named(folder)
    written = _Dataset(
        replace(info, schema_version=SCHEMA_VERSION),
        {split: _place_table(folder, split, table) for split, table in tables.items()},
        _place_failures(folder, failures),
    )
    files = {split: asdict(record) for split, record in written.splits.items()}
    failed = {} if written.failures is None else {_FAILURES: asdict(written.failures)}
    folder.put(DATASET_NAME, seal({**asdict(written.info), "files": files, **failed}))
    for name in former - _files_named(folder):
        folder.delete(name)
    if any(folder.size(file.name) != file.size_bytes for file in written.files):
        raise CacheBusy(
            f"{folder.root}: another process replaced dataset {info.name!r} in the same instant; "
            f"run again: pfcli extract --dataset {info.name}"
        )
    remove_temporary_files(folder.root)


def read_dataset(cache_root: Path, name: str) -> DatasetInfo:
    """Return what a dataset is."""
    return _read(cache_root, name).info


def read_datasets(cache_root: Path) -> list[DatasetInfo]:
    """Return all datasets of a cache, by name."""
    paths = (Path(cache_root) / EXAMPLES_NAME).glob(f"*/{DATASET_NAME}")
    return [read_dataset(cache_root, path.parent.name) for path in sorted(paths)]


def read_failures(cache_root: Path, name: str) -> list[Failure]:
    """Return the media of a dataset that no encoder was given: missing, outside, empty."""
    folder, record = _folder(cache_root, name), _read(cache_root, name).failures
    if record is None:
        return read_failure_lines(folder / f"{_FAILURES}.jsonl")  # as version 1 has them
    check_files(folder, {record.name: record.sha256}, fix=_fix(name))
    return read_failure_lines(folder / record.name)


def read_examples(cache_root: Path, name: str, split: str) -> ExampleTable:
    """Return the examples of one split, over a memory map of a file whose bytes were checked."""
    dataset = _read(cache_root, name)
    if split not in dataset.splits:
        raise CacheError(
            f"dataset {name!r} has no split {split!r}; it has {', '.join(dataset.splits)}"
        )
    folder, record = _folder(cache_root, name), dataset.splits[split]

    def validate(path: Path) -> None:
        _check_table(path, _read_table(path, name), dataset.info, split)

    check_files(folder, {record.name: record.sha256}, fix=_fix(name), validate=validate)
    return ExampleTable(_read_table(folder / record.name, name))


def dataset_files(cache_root: Path, name: str) -> list[Placed]:
    """Return the files that a dataset consists of, beside `dataset.json`."""
    return _read(cache_root, name).files


def _folder(cache_root: Path, name: str) -> Path:
    return Path(cache_root) / EXAMPLES_NAME / name


def _fix(name: str) -> str:
    return f"run: pfcli extract --dataset {name}"


def _read(cache_root: Path, name: str) -> _Dataset:
    folder = Folder(_folder(cache_root, name))
    data = folder.get(DATASET_NAME)
    if data is None:
        held = [path.parent.name for path in folder.root.parent.glob(f"*/{DATASET_NAME}")]
        raise CacheError(
            f"no dataset {name!r} in {cache_root}{did_you_mean(name, held)}; {_fix(name)}"
        )
    path = folder.path(DATASET_NAME)
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
    if Path(record.name).name != record.name:
        raise CacheError(f"{record.name!r} is not the name of a file in this folder")
    return record


def _files_named(folder: Folder) -> set[str]:
    """Return the names of the files that `dataset.json` names; a damaged one names none."""
    try:
        dataset = _read(folder.root.parent.parent, folder.root.name)
    except CacheError:  # it is about to be replaced
        return set()
    old = {f"{_FAILURES}.jsonl", ".lock"} if dataset.info.schema_version == 1 else set()
    return {record.name for record in dataset.files} | old


def _place_table(folder: Folder, split: str, table: pa.Table) -> Placed:
    def write(path: Path) -> None:
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)

    return folder.place(write, lambda sha256: f"{split}-{sha256[:_HASH_DIGITS]}.arrow")


def _place_failures(folder: Folder, failures: Iterable[Failure]) -> Placed:
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


def _check_table(path: Path, table: pa.Table, info: DatasetInfo, split: str) -> None:
    """Check that a table has the columns and rows of a split, and nothing that points outside."""
    expected = table_of(info, split, []).schema
    if not table.schema.equals(expected):
        raise ShardCorrupt(f"{path}: columns {table.schema.names}, {expected.names} expected")
    if table.num_rows != info.splits[split]:
        raise ShardCorrupt(
            f"{path}: {info.splits[split]} examples were written, it has {table.num_rows}"
        )
    try:
        table.validate(full=True)
    except pa.ArrowException as error:
        raise ShardCorrupt(f"{path}: {error}") from error
