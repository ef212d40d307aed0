"""Copying a cache from one place to another: whole files first, what makes them count last.

What is there by its hash is not sent again, so a copy that was cut off goes on, and at any instant
the copy is a cache that holds a part of the other.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePath

from tqdm import tqdm

from ..errors import CacheError, ShardCorrupt
from .checked import check_files
from .claims import Claims
from .commits import Commit, commit_names, read_commits
from .examples import DATASET_NAME, dataset_files
from .layout import EXAMPLES_NAME, folders_of_sets, open_committed
from .manifest import MANIFEST_NAME, FieldSpec, read_manifest, read_versioned
from .objects import Store, store_at
from .places import place_of

_FIX = "the source is damaged: run pfcli verify --repair there"


@dataclass(frozen=True)
class Copied:
    """What was copied of a dataset or feature set, and what was there before."""

    name: str
    files: int
    size_bytes: int
    there: int


def copy_cache(source: PurePath, target: PurePath) -> list[Copied]:
    """Return what was copied: every dataset and feature set of one place is at the other now.

    Every byte is compared with its hash on the way. What the target holds besides stays.

    Raises:
        CacheError: If the source holds no cache, or one of version 1.
        ShardCorrupt: If a file of the source is damaged.
    """
    source, target = place_of(source), place_of(target)
    sets, datasets = folders_of_sets(source), _datasets(source)
    if not sets and not datasets:
        raise CacheError(
            f"{source} holds no cache: neither examples/*/{DATASET_NAME} nor "
            f"features/*/*/{MANIFEST_NAME} is there"
        )
    copied = [_copy_dataset(source, target, name) for name in datasets]
    return copied + [_copy_set(path, target / path.relative_to(source)) for path in sets]


def _datasets(root: PurePath) -> list[str]:
    folder = store_at(root / EXAMPLES_NAME)
    return [name for name in folder.folders() if folder.size(f"{name}/{DATASET_NAME}") is not None]


def _copy_dataset(source_root: PurePath, target_root: PurePath, name: str) -> Copied:
    """Copy a dataset's files, then what names them, then remove what that named before."""
    source = store_at(source_root / EXAMPLES_NAME / name)
    target = store_at(target_root / EXAMPLES_NAME / name)
    files = {file.name: file.sha256 for file in dataset_files(source_root, name)}
    described = source.get(DATASET_NAME)
    if described is None or not all(sha256[:16] in file for file, sha256 in files.items()):
        raise _of_version_1(source.root)
    former = target.get(DATASET_NAME)
    if former == described and all(target.size(n) == source.size(n) for n in files):
        return Copied(name, 0, 0, len(files))
    missing = {n: h for n, h in files.items() if target.size(n) != source.size(n)}
    size_bytes = sum(_copy_file(source, target, n, h) for n, h in missing.items())
    target.put(DATASET_NAME, described)
    for leftover in target.list().keys() - {*files, DATASET_NAME}:
        target.delete(leftover)
    return Copied(name, len(missing), size_bytes, len(files) - len(missing))


def _copy_set(source_path: PurePath, target_path: PurePath) -> Copied:
    """Copy a set's manifest, then shard by shard the shard and its commit."""
    source, target = store_at(source_path), store_at(target_path)
    manifest, version = read_versioned(source_path)
    if version == 1:
        raise _of_version_1(source_path)
    named = f"{manifest.modality}/{manifest.fingerprint}"
    if not target.holds(MANIFEST_NAME):
        target.put_if_absent(MANIFEST_NAME, source.get(MANIFEST_NAME) or b"")
    read_manifest(target_path)  # which has to be whole
    there, sizes, claims = set(commit_names(target)), target.list(), Claims(target)
    missing = [commit for commit in read_commits(source) if commit.name not in there]
    size_bytes, files = 0, 0
    with tqdm(
        total=sum(commit.size_bytes for commit in missing),
        desc=named,
        unit="B",
        unit_scale=True,
        disable=None,
    ) as bar:
        for commit in missing:

            def place(commit: Commit = commit) -> Commit:
                nonlocal files, size_bytes
                if commit.file is not None and sizes.get(commit.file) != commit.size_bytes:
                    files += 1
                    size_bytes += _copy_shard(source, target, commit, manifest.fields)
                return commit

            def others_did(commit: Commit = commit) -> bool:
                held = read_commits(target, but={commit.name})
                return {key for one in held for key in one.all_keys}.issuperset(commit.all_keys)

            with claims.holding(commit.name):
                claims.settle(commit, place, others_did)
            bar.update(commit.size_bytes)
    return Copied(named, files, size_bytes, len(there))


def _copy_shard(source: Store, target: Store, commit: Commit, fields: tuple[FieldSpec, ...]) -> int:
    def check(_: Path) -> None:
        open_committed(source.root, commit, fields)

    return _copy_file(source, target, str(commit.file), str(commit.sha256), check)


def _copy_file(
    source: Store,
    target: Store,
    name: str,
    sha256: str,
    validate: Callable[[Path], object] | None = None,
) -> int:
    """Return the size of a file that was checked and copied under its own name."""
    check_files(source.root, {name: sha256}, fix=_FIX, validate=validate)
    placed = target.place(
        lambda path: shutil.copyfile(source.path(name), path), lambda hashed: _named(name, hashed)
    )
    if placed.sha256 != sha256:
        target.delete(placed.name)
        raise ShardCorrupt(f"{source.root / name}: changed while it was copied; run it again")
    return placed.size_bytes


def _named(name: str, sha256: str) -> str:
    """Return a name that carries the beginning of a hash, with that of other bytes than its own."""
    stem, dash, end = name.rpartition("-")
    return f"{stem}{dash}{sha256[:16]}.{end.partition('.')[2]}"


def _of_version_1(path: PurePath) -> CacheError:
    return CacheError(
        f"{path}: of version 1, which is not copied; run there first: pfcli verify --repair"
    )
