"""A dataset's examples on disk: one Arrow file a split, and `dataset.json` beside them."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa

from ..errors import CacheError, ShardCorrupt, did_you_mean
from .atomic import (
    exclusive,
    make_folder,
    read_json_object,
    remove_temporary_files,
    replacing,
    write_json,
)
from .commits import FAILURES_NAME, Failure, read_failure_lines, write_failures
from .example_table import DatasetInfo, Example, ExampleTable, table_of
from .keys import file_sha256
from .layout import EXAMPLES_NAME
from .manifest import check_schema_version
from .shard import map_file

DATASET_NAME = "dataset.json"


@dataclass(frozen=True)
class _FileRecord:
    """The size and sha256 (in hex) that a split's file was written with."""

    size_bytes: int
    sha256: str


def write_examples(
    cache_root: Path,
    info: DatasetInfo,
    splits: Mapping[str, Sequence[Example]],
    failures: Sequence[Failure] = (),
) -> None:
    """Replace a dataset's examples, file by file, `dataset.json` last.

    Its `splits` must be the numbers of examples given; failures are media that could not be used
    by any encoder: missing, outside, empty.
    """
    folder = _folder(cache_root, info.name)
    counts = {split: len(examples) for split, examples in splits.items()}
    if counts != dict(info.splits):
        raise CacheError(f"dataset {info.name!r}: splits {dict(info.splits)} said, {counts} given")
    tables = {split: table_of(info, split, examples) for split, examples in splits.items()}
    make_folder(folder)
    with exclusive(folder, doing=f"writing dataset {info.name!r}"):
        remove_temporary_files(folder)
        files = {split: _write_table(folder, split, table) for split, table in tables.items()}
        write_failures(folder / FAILURES_NAME, failures)
        records = {split: asdict(record) for split, record in files.items()}
        write_json(folder / DATASET_NAME, {**asdict(info), "files": records})
        for path in folder.glob("*.arrow"):
            if path.stem not in splits:
                path.unlink()


def read_dataset(cache_root: Path, name: str) -> DatasetInfo:
    """Return what a dataset is."""
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
    """Return the examples of one split, over a memory map."""
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
