"""Where things lie in a cache folder, and how a shard gets there and is opened again."""

from collections.abc import Container, Iterable
from dataclasses import replace
from pathlib import Path, PurePath

import numpy as np

from ..errors import ShardCorrupt, ShardReplaced
from .backends import Backend, open_shard
from .checked import check_files
from .claims import CLAIMS_NAME, claim_object, claimed_by_another, remove_abandoned_claims
from .commits import COMMITS_NAME, REPAIR, SHARD_NAME, Commit, commit_object, read_commit
from .keys import file_sha256
from .manifest import MANIFEST_NAME, FieldSpec
from .objects import Store, store_at
from .places import place_of
from .shard import Shard, check_shard

FEATURES_NAME = "features"
EXAMPLES_NAME = "examples"

_HASH_DIGITS = 16


def feature_set_path(cache_root: PurePath, modality: str, fingerprint: str) -> PurePath:
    """Return the folder of a feature set."""
    return cache_root / FEATURES_NAME / modality / fingerprint


def folders_of_sets(
    cache_root: PurePath, modality: str | None = None, *, held: tuple[str, ...] = (MANIFEST_NAME,)
) -> list[PurePath]:
    """Return the folders of feature sets, or of those of a modality, that hold one of some names.

    These are by default those that have a manifest.
    """
    root = place_of(cache_root) / FEATURES_NAME
    modalities = store_at(root).folders() if modality is None else [modality]
    folders = [root / name / own for name in modalities for own in store_at(root / name).folders()]
    return [path for path in folders if any(store_at(path).holds(name) for name in held)]


def shard_name(commit: Commit, sha256: str, extension: str) -> str:
    """Return the name of a commit's shard, which no other bytes than these can have."""
    return f"shard-{commit.name}-{sha256[:_HASH_DIGITS]}{extension}"


def place_shard(
    folder: Store, commit: Commit, shard: Shard, fields: tuple[FieldSpec, ...], *, backend: Backend
) -> Commit:
    """Return a commit with its shard, which was written, checked, hashed and moved into place.

    Nothing counts until that commit is put.
    """
    columns = {spec.name: shard.columns[spec.name] for spec in fields}
    shard = replace(shard, columns=columns, about=commit.about())

    def write(path: Path) -> None:
        backend.write(path, shard)
        written = backend.open(path)
        check_shard(path, written, fields, rows=len(shard))
        if written.about != shard.about or not np.array_equal(written.keys, shard.keys):
            raise ShardCorrupt(f"{path}: what is read back differs from what was written")

    placed = folder.place(write, lambda sha256: shard_name(commit, sha256, backend.extension))
    return replace(commit, file=placed.name, size_bytes=placed.size_bytes, sha256=placed.sha256)


def check_shards(folder: PurePath, commits: Iterable[Commit]) -> None:
    """Check that shards have the bytes that were committed, each once (see `check_files`)."""
    expected = {str(commit.file): str(commit.sha256) for commit in commits}
    check_files(folder, expected, fix=f"restore it, or {REPAIR}")


def open_committed(folder: PurePath, commit: Commit, fields: tuple[FieldSpec, ...]) -> Shard:
    """Return a shard, whose bytes were checked, if it holds what was committed."""
    path = folder / str(commit.file)
    shard = open_shard(store_at(folder).path(str(commit.file)))
    check_shard(path, shard, fields, rows=commit.rows)
    if shard.keys.tobytes() != commit.keys:
        raise ShardCorrupt(f"{path}: its keys are not those that were committed; {REPAIR}")
    return shard


def with_shard(folder: Store, commit: Commit) -> Commit:
    """Return a commit whose shard is there with its size: this one, or what replaced it meanwhile.

    Raises:
        ShardReplaced: If shard and commit are gone, as after a compaction.
        ShardCorrupt: If the shard is missing or of another size.
    """
    if commit.file is None or folder.size(commit.file) == commit.size_bytes:
        return commit
    if folder.size(commit_object(commit.name)) is not None:
        again = read_commit(folder, commit.name)  # the shard may have been converted
        if again.file != commit.file and folder.size(str(again.file)) == again.size_bytes:
            return again
    path, size_bytes = folder.root / commit.file, folder.size(commit.file)
    found = "missing" if size_bytes is None else f"the file has {size_bytes}"
    replaced = size_bytes is None and folder.size(commit_object(commit.name)) is None
    raise (ShardReplaced if replaced else ShardCorrupt)(
        f"{path}: {commit.size_bytes} bytes were committed, {found}; restore it, or {REPAIR}"
    )


def check_bytes(folder: Store, name: str, sha256: str) -> None:
    """Check that a file has this sha256 (in hex); of a store, the object as it is there now."""
    if not folder.renew(name) and not folder.path(name).exists():
        raise ShardCorrupt(f"{folder.root / name}: missing")
    held = file_sha256(folder.path(name)).hex()
    if held != sha256:
        raise ShardCorrupt(
            f"{folder.root / name}: bytes changed: sha256 {sha256} expected, {held} found"
        )


def shard_files(folder: Store) -> dict[str, str]:
    """Return the shards in a feature set's folder, by file, with the name of their commit."""
    found = {name: SHARD_NAME.fullmatch(name) for name in folder.list()}
    return {name: match["commit"] for name, match in found.items() if match and match["commit"]}


def lost_shards(folder: Store, committed: Container[str]) -> list[str]:
    """Return the shards whose commits are lost: not `committed`, nor left by a writer's death."""
    return [
        file
        for file, name in shard_files(folder).items()
        if name not in committed and folder.size(claim_object(name)) is None
    ]


def remove_leftovers(folder: Store, commits: Iterable[Commit]) -> list[str]:
    """Return the shards that were removed: of media that are committed in another file.

    Those that another writer may be about to commit stay.
    """
    files = {commit.name: commit.file for commit in commits}
    leftovers = [
        file
        for file, name in shard_files(folder).items()
        if files.get(name, file) != file and not claimed_by_another(folder, name)
    ]
    for file in leftovers:
        folder.delete(file)
    return leftovers


def tidy(folder: Store, committed: Container[str]) -> None:
    """Remove what writers that are gone left half done; a claim stays that marks a whole shard."""
    for name in ("", COMMITS_NAME, CLAIMS_NAME):
        folder.tidy(name)
    uncommitted = {name for name in shard_files(folder).values() if name not in committed}
    remove_abandoned_claims(folder, but=uncommitted)
