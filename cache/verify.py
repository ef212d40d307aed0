"""Rehashing what a cache holds, and letting go of what is damaged."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..errors import CacheError, ShardCorrupt
from .atomic import exclusive
from .commits import (
    FAILURES_NAME,
    Commit,
    committed_failures,
    drop_failures,
    only_failures,
    read_commits,
    read_failure_lines,
    write_commits,
)
from .examples import dataset_files
from .keys import unpack_keys
from .layout import EXAMPLES_NAME, check_bytes, open_committed, remove_leftovers
from .manifest import Manifest, read_manifest


@dataclass(frozen=True)
class ShardCheck:
    """Whether a file's bytes are those that were committed, and what is wrong if not."""

    file: str
    ok: bool
    reason: str = ""


def verify(
    feature_set_path: Path, *, progress: Callable[[int, int], None] | None = None
) -> list[ShardCheck]:
    """Return one check a committed shard, and one of the failures if there are any.

    `progress` is told (shards done, shards in all) after each shard.
    """
    folder = Path(feature_set_path)
    manifest, commits = read_manifest(folder), read_commits(folder)
    shards = [commit for commit in commits if commit.file is not None]
    checks: list[ShardCheck] = []
    seen: set[bytes] = set()
    for commit in shards:
        checks.append(_check(str(commit.file), lambda c=commit: _shard(folder, manifest, c, seen)))
        if progress is not None:
            progress(len(checks), len(shards))
    if count := committed_failures(commits):
        path = folder / FAILURES_NAME
        checks.append(_check(FAILURES_NAME, lambda: read_failure_lines(path, count)))
    return checks


def verify_examples(cache_root: Path, dataset: str) -> list[ShardCheck]:
    """Return one check a file of a dataset's examples."""
    folder = cache_root / EXAMPLES_NAME / dataset
    return [
        _check(file.name, lambda f=file: check_bytes(folder / f.name, f.sha256))
        for file in dataset_files(cache_root, dataset)
    ]


def repair(feature_set_path: Path) -> list[str]:
    """Return the files that were given up because they failed `verify`.

    They leave the log (then the disk), so that the next extraction encodes their media again and
    keeps all other rows.
    """
    folder = Path(feature_set_path)
    with exclusive(folder, doing="repair"):
        bad = {check.file for check in verify(folder) if not check.ok}
        if bad:
            commits = [
                only_failures(commit.failures) if commit.file in bad else commit
                for commit in read_commits(folder)
            ]
            if FAILURES_NAME in bad:
                commits = drop_failures(folder, commits)
            write_commits(folder, commits)
            remove_leftovers(folder, commits)
    return sorted(bad)


def _check(file: str, action: Callable[[], object]) -> ShardCheck:
    try:
        action()
    except CacheError as error:
        return ShardCheck(file, ok=False, reason=str(error))
    return ShardCheck(file, ok=True)


def _shard(folder: Path, manifest: Manifest, commit: Commit, seen: set[bytes]) -> None:
    path = folder / str(commit.file)
    shard = open_committed(folder, commit, manifest.fields, rehash=True)
    keys = unpack_keys(shard.keys)
    if len(set(keys)) != len(keys) or not seen.isdisjoint(keys):
        raise ShardCorrupt(f"{path}: a key comes twice in this feature set")
    seen.update(keys)
