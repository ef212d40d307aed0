"""Where things lie in a cache folder, and how a finished shard gets there."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..errors import ShardCorrupt
from .atomic import remove_temporary_files, replacing
from .backends import BACKENDS, Backend, open_shard
from .commits import SHARD_NAME, Commit
from .keys import file_sha256
from .manifest import FieldSpec
from .shard import Shard, check_shard

FEATURES_NAME = "features"
EXAMPLES_NAME = "examples"


def feature_set_path(cache_root: Path, modality: str, fingerprint: str) -> Path:
    """Return the folder of a feature set."""
    return Path(cache_root) / FEATURES_NAME / modality / fingerprint


def next_shard_stem(commits: Sequence[Commit]) -> str:
    """Return the name, without extension, of the shard after the last committed one."""
    names = [SHARD_NAME.fullmatch(commit.file) for commit in commits if commit.file is not None]
    numbers = [int(name[1]) for name in names if name is not None]
    return f"shard-{max(numbers, default=-1) + 1:05d}"


def place_shard(
    path: Path, shard: Shard, fields: tuple[FieldSpec, ...], *, backend: Backend, failures: int
) -> Commit:
    """Return the commit of a shard that was written, checked, hashed and moved to `path`.

    Nothing counts until that commit, which vouches for so many failure lines, is in the log.
    """
    with replacing(path) as temporary:
        columns = {spec.name: shard.columns[spec.name] for spec in fields}
        backend.write(temporary, shard.keys, columns)
        written = backend.open(temporary)
        check_shard(temporary, written, fields, rows=len(shard))
        if not np.array_equal(written.keys, shard.keys):
            raise ShardCorrupt(f"{path}: keys read back differ from those written")
        sha256 = file_sha256(temporary).hex()
        size_bytes = temporary.stat().st_size
    return Commit(
        file=path.name,
        rows=len(shard),
        size_bytes=size_bytes,
        sha256=sha256,
        first_key=shard.keys[0].tobytes().hex(),
        last_key=shard.keys[-1].tobytes().hex(),
        failures=failures,
    )


def open_committed(
    folder: Path, commit: Commit, fields: tuple[FieldSpec, ...], *, rehash: bool = False
) -> Shard:
    """Return a committed shard, after checking what is cheap to check, or its sha256 too."""
    check_size(folder, commit)
    path = folder / str(commit.file)
    if rehash:
        check_bytes(path, str(commit.sha256))
    shard = open_shard(path)
    check_shard(path, shard, fields, rows=commit.rows)
    ends = (shard.keys[0].tobytes().hex(), shard.keys[-1].tobytes().hex())
    if ends != (commit.first_key, commit.last_key):
        raise ShardCorrupt(f"{path}: first or last key is not the committed one ({ends[0]})")
    return shard


def check_size(folder: Path, commit: Commit) -> None:
    """Check that the shard is there with the size that was committed."""
    path = folder / str(commit.file)
    fix = "restore it, or run: pfcli verify --repair, then pfcli extract"
    if not path.exists():
        raise ShardCorrupt(f"{path}: missing; {fix}")
    size_bytes = path.stat().st_size
    if size_bytes != commit.size_bytes:
        raise ShardCorrupt(
            f"{path}: {commit.size_bytes} bytes were committed, the file has {size_bytes}; {fix}"
        )


def check_bytes(path: Path, sha256: str) -> None:
    """Check that a file has this sha256 (in hex)."""
    if not path.exists():
        raise ShardCorrupt(f"{path}: missing")
    held = file_sha256(path).hex()
    if held != sha256:
        raise ShardCorrupt(f"{path}: bytes changed: sha256 {sha256} expected, {held} found")


def remove_leftovers(folder: Path, commits: Sequence[Commit]) -> None:
    """Remove temporary files and shards that no commit names."""
    remove_temporary_files(folder)
    committed = {commit.file for commit in commits}
    for backend in BACKENDS.values():
        for path in folder.glob(f"shard-*{backend.extension}"):
            if path.name not in committed:
                path.unlink()
