"""What a cache holds that nothing names and no writer needs, found and removed."""

import json
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import PurePath

from ..errors import CacheError
from .atomic import abandoned_files
from .checked import MEMO_NAME
from .claims import CLAIMS_NAME, Claims, claim_object, claimed_by_another, is_abandoned
from .commits import (
    COMMITS_NAME,
    SHARD_NAME,
    commit_names,
    find_commit,
    read_commit,
    read_commits,
)
from .compacting import remove_commits
from .examples import DATASET_NAME, dataset_files
from .layout import shard_files
from .manifest import MANIFEST_NAME, read_versioned
from .objects import Folder, Store, store_at
from .places import place_of
from .verify import dataset_folders, feature_folders

#: How long ago an example file was written that no living writer is about to name.
_SETTLED_SECONDS = 24 * 3600

_SET = ""


@dataclass(frozen=True)
class Garbage:
    """An object, by its folder and name there (none: the feature set there as a whole)."""

    folder: PurePath
    name: str
    size_bytes: int
    why: str


def find_garbage(cache_root: PurePath, *, beside: str, all_beside: bool = False) -> list[Garbage]:
    """Return what can be removed from a cache: nothing that is named, or that may be about to be.

    What was left by writers of other machines, of which none can know whether they live, stays, as
    do shards whose commits were lost, which `repair` makes again.

    Args:
        cache_root: The cache.
        beside: The name of the store of questions' media below it, which is looked through too.
        all_beside: Whether all of that store may go, but what writers have in hand.
    """
    root = place_of(cache_root)
    found = list(_in_cache(root))
    if not all_beside:
        return found + list(_in_cache(root / beside))
    return found + [it for path in feature_folders(root / beside) for it in _whole_set(path)]


def remove_garbage(garbage: Iterable[Garbage]) -> int:
    """Return how many bytes were removed."""
    removed = 0
    for it in garbage:
        folder, shard = store_at(it.folder), SHARD_NAME.fullmatch(it.name)
        if it.name == _SET:
            _remove_set(folder)
        elif not shard:
            folder.delete(it.name)
        elif not _remove_shard(folder, it.name, shard["commit"]):
            continue
        removed += it.size_bytes
    return removed


def _remove_shard(folder: Store, file: str, name: str) -> bool:
    """Remove a shard unless a writer of the same media has taken it up since it was found."""
    claims = Claims(folder)
    if not claims.take(name):
        return False
    claims.hold(name, [b""])
    commit = find_commit(folder, name)
    needed = commit is not None and commit.file == file
    if not needed:
        folder.delete(file)
    claims.free()
    return not needed


def _in_cache(root: PurePath) -> Iterator[Garbage]:
    for path in feature_folders(root):
        folder = store_at(path)
        yield from _temporary(folder, ("", COMMITS_NAME, CLAIMS_NAME))
        yield from _stale_memo(folder)
        with suppress(CacheError):  # what cannot be read is for verify to tell of
            if read_versioned(path)[1] > 1:
                yield from _in_set(folder)
    for path in dataset_folders(root):
        yield from _temporary(store_at(path), ("",))
        with suppress(CacheError):
            yield from _unnamed_examples(root, path)


def _temporary(folder: Store, prefixes: Iterable[str]) -> Iterator[Garbage]:
    if not isinstance(folder, Folder):
        return
    for prefix in prefixes:
        for path in abandoned_files(folder.path(prefix)):
            name = str(path.relative_to(folder.root))
            why = "half written by a writer that is gone"
            yield Garbage(folder.root, name, path.stat().st_size, why)


def _stale_memo(folder: Store) -> Iterator[Garbage]:
    path = folder.path(MEMO_NAME)
    if not isinstance(folder, Folder) or not path.is_file():
        return
    try:
        named = json.loads(path.read_bytes())
    except ValueError:
        named = []
    if not any(folder.path(name).exists() for name in named):
        yield Garbage(folder.root, MEMO_NAME, path.stat().st_size, "remembers no file that is here")


def _in_set(folder: Store) -> Iterator[Garbage]:
    """Yield shards before the claims that mark them, so that none counts as having lost a commit.

    Shards are listed before commits: what is committed meanwhile is found to be.
    """
    shards, marked = shard_files(folder), set[str]()
    for file, name in shards.items():
        left = is_abandoned(folder, name)
        committed = name in commit_names(folder)
        if committed and read_commit(folder, name).file == file:
            continue
        marked.add(name)
        if left or (committed and not claimed_by_another(folder, name)):
            why = "its media are committed in another file" if committed else "never committed"
            yield Garbage(folder.root, file, folder.size(file) or 0, why)
    for claim, size_bytes in folder.list(CLAIMS_NAME).items():
        name = claim.rpartition("/")[2]
        if is_abandoned(folder, name):
            why = "marks a shard that was never committed" if name in marked else "of no writer"
            yield Garbage(folder.root, claim_object(name), size_bytes, why)


def _unnamed_examples(root: PurePath, path: PurePath) -> Iterator[Garbage]:
    folder = store_at(path)
    if not isinstance(folder, Folder):
        return  # of an object's age nothing is known, and a writer may be about to name it
    held = folder.list()
    named = {file.name for file in dataset_files(root, path.name)} | {DATASET_NAME}
    named.add("failures.jsonl")
    for name, size_bytes in held.items():
        with suppress(FileNotFoundError):
            age_seconds = time.time() - folder.path(name).stat().st_mtime
            if name not in named and age_seconds > _SETTLED_SECONDS:
                yield Garbage(path, name, size_bytes, f"not named by {DATASET_NAME}")


def _whole_set(path: PurePath) -> Iterator[Garbage]:
    folder = store_at(path)
    claims = [claim.rpartition("/")[2] for claim in folder.list(CLAIMS_NAME)]
    if not any(claimed_by_another(folder, name) for name in claims):
        parts = ("", COMMITS_NAME, CLAIMS_NAME)
        size_bytes = sum(sum(folder.list(part).values()) for part in parts)
        yield Garbage(path, _SET, size_bytes, "encoded to answer questions")


def _remove_set(folder: Store) -> None:
    """Remove a feature set such that an interruption leaves a smaller one."""
    remove_commits(folder, read_commits(folder))
    for it in list(_in_set(folder)):
        folder.delete(it.name)
    folder.delete(MANIFEST_NAME)
    if isinstance(folder, Folder):
        folder.path(MEMO_NAME).unlink(missing_ok=True)
        for path in (folder.path(CLAIMS_NAME), folder.path(COMMITS_NAME), folder.root):
            if path.is_dir() and not any(path.iterdir()):
                path.rmdir()
