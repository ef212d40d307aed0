"""Changing a feature set's file format without changing a value."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from .backends import Backend, Format, backend_of
from .claims import Claims
from .commits import Commit, put_commit, read_commits
from .layout import check_bytes, open_committed, place_shard, remove_leftovers, tidy, with_shard
from .manifest import Manifest, read_manifest
from .objects import Folder
from .version1 import migrate


def convert(
    feature_set_path: Path,
    format: Format,  # noqa: A002  (the word users type)
    *,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Return how many shards were written anew; those of that format already are left alone.

    Shard by shard, the new file is written and checked, then the commit is replaced, then the old
    file is removed. At any instant the commits name whole files, so an interrupted conversion
    leaves a valid set of mixed formats and goes on when it is run again. Readers that opened the
    set before go on too.

    `progress` is told (shards done, shards in all) after each shard.
    """
    backend = backend_of(format)
    folder = Folder(migrate(feature_set_path))
    manifest, claims = read_manifest(folder.root), Claims(folder)
    held = read_commits(folder)
    remove_leftovers(folder, held)
    tidy(folder, {commit.name for commit in held})
    commits = [commit for commit in held if _differs(commit, backend)]
    for done, commit in enumerate(commits, start=1):
        with claims.holding(commit.name):
            commit = with_shard(folder, commit)
            if _differs(commit, backend):  # still, beside others that convert the set
                put_commit(folder, _convert_shard(folder, manifest, commit, backend), replace=True)
                folder.delete(str(commit.file))
        if progress is not None:
            progress(done, len(commits))
    return len(commits)


def _differs(commit: Commit, backend: Backend) -> bool:
    return commit.file is not None and not commit.file.endswith(backend.extension)


def _convert_shard(folder: Folder, manifest: Manifest, commit: Commit, backend: Backend) -> Commit:
    check_bytes(folder.path(str(commit.file)), str(commit.sha256))
    shard = open_committed(folder.root, commit, manifest.fields)
    bare = replace(commit, file=None, size_bytes=0, sha256=None)
    return place_shard(folder, bare, shard, manifest.fields, backend=backend)
