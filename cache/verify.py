"""Rehashing what a cache holds, and mending it: what can be made again is, the rest is let go."""

from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..errors import CacheError, ShardCorrupt
from .atomic import parse_json_object
from .backends import open_shard
from .claims import claimed_by_another
from .commits import (
    COMMITS_NAME,
    REPAIR,
    Commit,
    commit_names,
    commit_object,
    put_commit,
    read_commit,
)
from .examples import DATASET_NAME, dataset_files
from .keys import file_sha256
from .layout import (
    EXAMPLES_NAME,
    FEATURES_NAME,
    check_bytes,
    lost_shards,
    open_committed,
    remove_leftovers,
    shard_files,
    tidy,
)
from .manifest import MANIFEST_NAME, FieldSpec, read_versioned
from .objects import Folder
from .version1 import LOG_NAME, checks_of_version_1, migrate


@dataclass(frozen=True)
class FileCheck:
    """Whether a file's bytes are those that were written, and what is wrong if not."""

    file: str
    ok: bool
    reason: str = ""


def feature_folders(cache_root: Path) -> list[Path]:
    """Return the folders of feature sets, those included that have lost their manifest."""
    folders = sorted((Path(cache_root) / FEATURES_NAME).glob("*/*/"))
    held = (MANIFEST_NAME, COMMITS_NAME)
    return [path for path in folders if any((path / name).exists() for name in held)]


def verify(
    feature_set_path: Path, *, progress: Callable[[int, int], None] | None = None
) -> list[FileCheck]:
    """Return one check a file: the manifest, each commit, each shard, those without a commit too.

    `progress` is told (commits done, commits in all) after each commit.
    """
    folder = Folder(feature_set_path)
    checks = [_check(MANIFEST_NAME, lambda: read_versioned(folder.root))]
    manifest, version = read_versioned(folder.root) if checks[0].ok else (None, 0)
    fields = manifest and manifest.fields
    if manifest is not None and version == 1:
        return checks + [_check(*one) for one in checks_of_version_1(folder, manifest)]
    names = commit_names(folder)
    for done, name in enumerate(names, start=1):
        checks.append(_check(commit_object(name), lambda n=name: read_commit(folder, n)))
        if checks[-1].ok and (commit := read_commit(folder, name)).file is not None:
            checks.append(_check(commit.file, lambda c=commit: _check_shard(folder, c, fields)))
        if progress is not None:
            progress(done, len(names))
    lost = lost_shards(folder, commit_names(folder))
    reason = f"{folder.root}: no commit names it, its commit is lost; {REPAIR}"
    return checks + [FileCheck(file, ok=False, reason=reason) for file in lost]


def dataset_folders(cache_root: Path) -> list[Path]:
    """Return the folders of datasets, those included that have lost what describes them."""
    return sorted((Path(cache_root) / EXAMPLES_NAME).glob("*/"))


def verify_examples(cache_root: Path, dataset: str) -> list[FileCheck]:
    """Return one check a file of a dataset's examples, `dataset.json` first."""
    folder = Path(cache_root) / EXAMPLES_NAME / dataset
    described = _check(DATASET_NAME, lambda: dataset_files(cache_root, dataset))
    files = dataset_files(cache_root, dataset) if described.ok else []
    return [
        described,
        *(_check(f.name, lambda f=f: check_bytes(folder / f.name, f.sha256)) for f in files),
    ]


def repair(feature_set_path: Path) -> list[str]:
    """Return what was done, a line each, so that `verify` finds nothing and nothing good is lost.

    What is damaged is given up: the next extraction makes it again and keeps all other rows.
    Commits that were lost are made again from their shards. What writers left that are gone is
    removed.
    """
    lines: list[str] = []
    folder, fields = Folder(feature_set_path), None
    try:
        folder = Folder(migrate(feature_set_path, lines=lines))
        fields = read_versioned(folder.root)[0].fields
    except CacheError:
        if folder.size(LOG_NAME) is not None:
            return [f"cannot mend {MANIFEST_NAME} of version 1: restore it, or delete the folder"]
        if folder.size(MANIFEST_NAME) is not None:
            folder.delete(MANIFEST_NAME)
            lines.append(f"gave up {MANIFEST_NAME}")
    good = [
        commit for name in commit_names(folder) if (commit := _good(folder, name, fields, lines))
    ]
    lines += [f"removed {file}, a leftover" for file in remove_leftovers(folder, good)]
    committed = {commit.name for commit in good}
    for file, name in shard_files(folder).items():
        if name not in committed and not claimed_by_another(folder, name):
            lines.append(_commit_again(folder, file, name))
    tidy(folder, commit_names(folder))
    return lines


def _good(
    folder: Folder, name: str, fields: tuple[FieldSpec, ...] | None, lines: list[str]
) -> Commit | None:
    """Return a commit if it and its shard are whole; give both up if not."""
    try:
        commit = read_commit(folder, name)
    except CacheError:
        folder.delete(commit_object(name))
        lines.append(f"gave up {commit_object(name)}")
        return None
    if commit.file is not None:
        try:
            _check_shard(folder, commit, fields)
        except CacheError:
            folder.delete(commit_object(name))
            folder.delete(commit.file)
            lines.append(f"gave up {commit.file}")
            return None
    return commit


def _commit_again(folder: Folder, file: str, name: str) -> str:
    """Make the commit of a shard again, or remove the shard; return what was done."""
    try:
        put_commit(folder, _commit_of(folder, file, name))
    except CacheError:
        folder.delete(file)
        return f"gave up {file}, which has no commit"
    return f"made {commit_object(name)} again from {file}"


def _commit_of(folder: Folder, file: str, name: str) -> Commit:
    """Return the commit that a whole shard tells of."""
    path = folder.path(file)
    sha256, size_bytes = file_sha256(path).hex(), folder.size(file)
    if not Path(file).stem.endswith(sha256[:16]):
        raise ShardCorrupt(f"{path}: bytes changed: its sha256 is {sha256}")
    shard = open_shard(path)
    about = parse_json_object(shard.about.encode() or b"{}", str(path))
    keys = b64encode(shard.keys.tobytes()).decode("ascii")
    said = {"failures": [], **about, "rows": len(shard), "keys": keys}
    said = {**said, "file": file, "size_bytes": size_bytes, "sha256": sha256}
    commit = Commit.from_json(said, path)
    if commit.name != name:
        raise ShardCorrupt(f"{path}: its media have the name {commit.name}")
    return commit


def _check(file: str, action: Callable[[], object]) -> FileCheck:
    try:
        action()
    except CacheError as error:
        return FileCheck(file, ok=False, reason=str(error))
    return FileCheck(file, ok=True)


def _check_shard(folder: Folder, commit: Commit, fields: tuple[FieldSpec, ...] | None) -> None:
    check_bytes(folder.path(str(commit.file)), str(commit.sha256))
    if fields is not None:
        open_committed(folder.root, commit, fields)
