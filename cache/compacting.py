"""Making few large shards of many small ones, so that a set opens fast and lists short."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import groupby
from pathlib import PurePath

import numpy as np

from ..errors import CacheBusy
from .atomic import sync
from .backends import backend_of, format_of
from .claims import CLAIMS_NAME, Claims, claim_object, claimed_by_another
from .commits import (
    COMMITS_NAME,
    Commit,
    commit_object,
    put_commit,
    read_commits,
    standing_failures,
)
from .layout import place_shard, remove_leftovers, tidy
from .objects import Folder, Store, store_at
from .shard import Shard
from .store import FeatureSet
from .version1 import migrate

#: What a compaction has in hand: one at a time may leave out rows that lie twice.
COMPACTION = "compaction"


def compact(
    feature_set_path: PurePath,
    *,
    shard_bytes: int,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[int, int]:
    """Return how many commits a set had and has, small ones having been joined up to a size.

    Of each group the new shard is written and committed, then the old commits go, then the old
    files. At any instant each row is committed, some of them twice, which no reader counts; an
    interrupted compaction goes on when it is run again. Readers and writers that opened the set
    before go on.

    `progress` is told (groups done, groups in all) after each group.

    Raises:
        CacheBusy: If another compaction of this set may be at work.
    """
    folder = store_at(migrate(feature_set_path))
    with _alone(folder):
        held = read_commits(folder)
        remove_leftovers(folder, held)
        tidy(folder, {commit.name for commit in held})
        remove_commits(folder, _superseded(held))
        features = FeatureSet.open(folder.root)
        groups = list(_groups(features.commits, shard_bytes))
        for done, group in enumerate(groups, start=1):
            if not any(claimed_by_another(folder, commit.name) for commit in group):
                _join(folder, features, group)
            if progress is not None:
                progress(done, len(groups))
    return len(held), len(FeatureSet.open(folder.root).commits)


@contextmanager
def _alone(folder: Store) -> Iterator[None]:
    if claimed_by_another(folder, COMPACTION):
        holder = (folder.get(claim_object(COMPACTION)) or b"").decode(errors="replace")
        raise CacheBusy(
            f"{folder.root}: {holder} is compacting this set; wait for it to end. If it runs no "
            f"more, delete {CLAIMS_NAME}/{COMPACTION} there"
        )
    claims = Claims(folder)
    try:
        with claims.holding(COMPACTION):
            yield
    finally:
        claims.free()


def _groups(commits: Sequence[Commit], shard_bytes: int) -> Iterator[list[Commit]]:
    """Yield commits that become one: alike in all that a commit says of its media, and small."""
    small = [commit for commit in commits if commit.size_bytes < shard_bytes]
    for _, alike in groupby(sorted(small, key=_kind), key=_kind):
        group: list[Commit] = []
        for commit in alike:
            if sum(one.size_bytes for one in group) + commit.size_bytes > shard_bytes:
                yield from [group] if len(group) > 1 else []
                group = []
            group.append(commit)
        yield from [group] if len(group) > 1 else []


def _kind(commit: Commit) -> tuple[int, str, str]:
    """Return what joined commits have in common: of failures, the highest attempt counts."""
    versions = json.dumps(dict(commit.versions), sort_keys=True)
    return commit.attempt, versions, "" if commit.file is None else format_of(commit.file)


def _superseded(commits: Iterable[Commit]) -> list[Commit]:
    """Return commits all of whose media others have: what an interrupted compaction left."""
    rows: set[bytes] = set()
    failed: dict[bytes | None, int] = {}
    found: list[Commit] = []
    for commit in sorted(commits, key=lambda commit: -len(commit.all_keys)):
        tried = [one.key for one in commit.failures if one.key not in rows]
        if rows.issuperset(commit.row_keys) and all(
            failed.get(key, 0) >= commit.attempt for key in tried
        ):
            found.append(commit)
        rows.update(commit.row_keys)
        failed.update({key: max(commit.attempt, failed.get(key, 0)) for key in tried})
    return found


def _join(folder: Store, features: FeatureSet, group: Sequence[Commit]) -> None:
    """Write the rows and failures of some commits that count as one commit, in their place."""
    joined, shard = _joined(features, group)
    names = {commit.name for commit in group}
    if claimed_by_another(folder, joined.name):
        return  # next time
    if joined.all_keys:
        with Claims(folder).holding(joined.name):
            if len(shard):
                fields, backend = features.manifest.fields, backend_of(format_of(_file(group)))
                joined = place_shard(folder, joined, shard, fields, backend=backend)
            if not put_commit(folder, joined, replace=joined.name in names):
                return  # another commit is of these media: next time one of them goes
    remove_commits(folder, group, kept=joined)


def _file(group: Sequence[Commit]) -> str:
    return str(group[0].file)


def _joined(features: FeatureSet, group: Sequence[Commit]) -> tuple[Commit, Shard]:
    """Return the commit, and the rows, of what counts in a set of some commits."""
    numbers = {commit.name: number for number, commit in enumerate(features.shard_commits)}
    held = [features.rows_in(numbers[one.name]) for one in group if one.name in numbers]
    shard = features.take(np.concatenate([np.zeros(0, dtype=np.int64), *held]))
    standing = {id(failure) for failure in standing_failures(features.commits).values()}
    failures = [failure for one in group for failure in one.failures if id(failure) in standing]
    bare = replace(group[0], file=None, size_bytes=0, sha256=None)
    return replace(bare, keys=shard.keys.tobytes(), failures=tuple(failures)), shard


def remove_commits(folder: Store, commits: Iterable[Commit], *, kept: Commit | None = None) -> None:
    """Remove commits whose media others have, then their shards, which claims mark meanwhile."""
    claims, gone = Claims(folder), list[Commit]()
    for commit in commits:
        if kept is not None and commit.name == kept.name:
            gone += [commit] if commit.file != kept.file else []
        elif claims.take(commit.name):
            claims.hold(commit.name, [b""])
            folder.delete(commit_object(commit.name))
            gone.append(commit)
    if isinstance(folder, Folder):
        sync(folder.path(COMMITS_NAME))  # no commit may outlive its shard
    for commit in gone:
        if commit.file is not None:
            folder.delete(commit.file)
    claims.free()
