"""Changing a feature set's file format without changing a value."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from .atomic import exclusive
from .backends import Backend, Format, backend_of
from .commits import Commit, drop_uncommitted, write_commits
from .layout import open_committed, place_shard, remove_leftovers
from .manifest import Manifest, read_manifest


def convert(
    feature_set_path: Path,
    format: Format,  # noqa: A002  (the word users type)
    *,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Return how many shards were written anew; those of that format already are left alone.

    Shard by shard, the new file is written and checked, then the log is replaced, then the old
    file is removed. At any instant the log names whole files, so an interrupted conversion leaves
    a valid set of mixed formats and goes on when it is run again.

    `progress` is told (shards done, shards in all) after each shard.
    """
    folder, backend = Path(feature_set_path), backend_of(format)
    manifest = read_manifest(folder)
    with exclusive(folder, doing="conversion"):
        commits = drop_uncommitted(folder)
        remove_leftovers(folder, commits)
        places = [place for place, commit in enumerate(commits) if _differs(commit, backend)]
        for done, place in enumerate(places, start=1):
            commits[place] = _convert_shard(folder, manifest, commits[place], backend)
            write_commits(folder, commits)
            remove_leftovers(folder, commits)
            if progress is not None:
                progress(done, len(places))
    return len(places)


def _differs(commit: Commit, backend: Backend) -> bool:
    return commit.file is not None and not commit.file.endswith(backend.extension)


def _convert_shard(folder: Path, manifest: Manifest, commit: Commit, backend: Backend) -> Commit:
    shard = open_committed(folder, commit, manifest.fields, rehash=True)
    path = (folder / str(commit.file)).with_suffix(backend.extension)
    placed = place_shard(path, shard, manifest.fields, backend=backend, failures=commit.failures)
    return replace(commit, file=placed.file, size_bytes=placed.size_bytes, sha256=placed.sha256)
