"""Feature sets of version 1: read as they lie, and carried over to version 2 by their next writer.

There one log named all shards (`commits.jsonl`), another all failures (`failures.jsonl`), and a
fingerprint covered the encoder's name too. Any number of such sets may become one.
"""

import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import CacheError, ShardCorrupt
from .atomic import exclusive, parse_json_object, read_lines
from .backends import open_shard
from .claims import Claims
from .commits import FAILURES_NAME, REPAIR, Commit, put_commit, read_failure_lines
from .keys import file_sha256
from .layout import check_bytes, check_shards, shard_name
from .manifest import MANIFEST_NAME, Manifest, read_versioned, write_manifest
from .objects import Folder
from .shard import check_shard

LOG_NAME = "commits.jsonl"

_SHARD_NAME = re.compile(r"shard-\d+\.(?:arrow|h5)")


def read_version_1(folder: Folder, manifest: Manifest) -> list[Commit]:
    """Return a set's commits, one a shard, and one of all failures."""
    path = folder.path(LOG_NAME)
    records = read_lines(path)
    try:
        count = int(records[-1]["failures"]) if records else 0
        commits = [_commit(folder, manifest, record) for record in records if record["file"]]
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        if isinstance(error, CacheError):
            raise
        raise CacheError(f"{path}: not a log of commits: {error!r}; {REPAIR}") from error
    return commits + _of_failures(folder, manifest, count)


def checks_of_version_1(
    folder: Folder, manifest: Manifest
) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield the files of a set with what checks each of them."""
    yield LOG_NAME, lambda: read_version_1(folder, manifest)
    for name, record in _readable(folder).items():
        if record["file"]:
            sha256 = str(record.get("sha256"))
            yield name, lambda n=name, s=sha256: check_bytes(folder.path(n), s)


def _readable(folder: Folder) -> dict[str, dict[str, Any]]:
    """Return the log's records by file, without those that are garbled."""
    named: dict[str, dict[str, Any]] = {}
    for line in (folder.get(LOG_NAME) or b"").split(b"\n"):
        with suppress(CacheError, KeyError):
            record = parse_json_object(line, LOG_NAME)
            named[str(record["file"])] = record
    return named


def migrate(path: Path, *, lines: list[str] | None = None) -> Path:
    """Return where a set lies, of version 2 now, whichever it was of before.

    At any instant the old set is whole, or the new one is. `lines` makes it a repair: what is
    damaged is left behind, and said there.

    Raises:
        CacheBusy: If another process, such as one of an older release, writes there.
        ShardCorrupt: If a shard is damaged, unless this is a repair.
    """
    manifest, version = read_versioned(path)
    if version > 1:
        return path
    folder, target = Folder(path), Folder(path.with_name(manifest.fingerprint))
    with exclusive(path, doing="the change to version 2"):
        if folder.size(MANIFEST_NAME) is None:  # another process has just done it
            return target.root
        commits = (
            read_version_1(folder, manifest) if lines is None else _whole(folder, manifest, lines)
        )
        check_shards(path, [commit for commit in commits if commit.file is not None])
        for commit in commits:
            _carry_over(folder, target, commit)
        held = manifest if target.size(MANIFEST_NAME) is None else read_versioned(target.root)[0]
        write_manifest(target.root, held.formerly(manifest.fingerprints[1:]))
        folder.delete(MANIFEST_NAME)
    remove_former(target.root)
    return target.root


def migrate_all(folder: Path, manifest: Manifest) -> None:
    """Carry over, into one set, those of version 1 beside it that hold the same features."""
    former: list[Path] = []
    for path in sorted(folder.parent.glob(f"*/{MANIFEST_NAME}")):
        with suppress(CacheError):  # a set that cannot be read is no concern of this one
            held, version = read_versioned(path.parent)
            if version == 1 and held.fingerprint == manifest.fingerprint:
                former.append(path.parent)
    for path in former:
        migrate(path)
    if (folder / MANIFEST_NAME).exists():
        remove_former(folder)


def remove_former(path: Path) -> None:
    """Remove what is left of the folders that were carried over into this one."""
    for name in read_versioned(path)[0].fingerprints[1:]:
        if not (path.with_name(name) / MANIFEST_NAME).exists():
            shutil.rmtree(path.with_name(name), ignore_errors=True)


def _carry_over(folder: Folder, target: Folder, commit: Commit) -> None:
    """Put a commit and its shard, which stays in its old place too, into the new set."""
    moved = commit
    with Claims(target).holding(commit.name):
        if commit.file is not None:
            old = folder.path(commit.file)
            moved = replace(commit, file=shard_name(commit, str(commit.sha256), old.suffix))
            if target.size(str(moved.file)) != commit.size_bytes:
                with target.placing(str(moved.file)) as temporary:
                    _link(old, temporary)
        put_commit(target, moved)


def _link(old: Path, new: Path) -> None:
    try:
        os.link(old, new)
    except OSError:  # a file system without links
        shutil.copyfile(old, new)


def _whole(folder: Folder, manifest: Manifest, lines: list[str]) -> list[Commit]:
    """Return the commits of what is whole of a damaged set, whether its log names it or not."""
    named = _readable(folder)
    commits: list[Commit] = []
    for name in [name for name in folder.list() if _SHARD_NAME.fullmatch(name)]:
        try:
            commits.append(_commit(folder, manifest, named.get(name, {"file": name})))
            check_bytes(folder.path(name), str(commits[-1].sha256))
        except CacheError:
            commits = [commit for commit in commits if commit.file != name]
            lines.append(f"gave up {name}")
    try:
        return commits + _of_failures(folder, manifest, None)
    except CacheError:
        lines.append(f"gave up {FAILURES_NAME}")
        return commits


def _of_failures(folder: Folder, manifest: Manifest, count: int | None) -> list[Commit]:
    """Return one commit of the first `count` failures (None: of all), if there are any."""
    failures = read_failure_lines(folder.path(FAILURES_NAME), count)
    keyed = tuple(failure for failure in failures if failure.key is not None)
    return [Commit(b"", keyed, versions=_versions(manifest))] if keyed else []


def _commit(folder: Folder, manifest: Manifest, record: Mapping[str, Any]) -> Commit:
    """Return the commit of a record of the log, its keys from the shard."""
    name = str(record["file"])
    path, size_bytes = folder.path(name), folder.size(name)
    if not _SHARD_NAME.fullmatch(name):
        raise CacheError(f"{folder.path(LOG_NAME)}: {name!r} is not a shard's name; {REPAIR}")
    if size_bytes is None:
        raise ShardCorrupt(f"{path}: missing; {REPAIR}")
    _compare(path, record, size_bytes=size_bytes)
    shard = open_shard(path)
    check_shard(path, shard, manifest.fields, rows=len(shard))
    first, last = shard.keys[:1].tobytes().hex(), shard.keys[-1:].tobytes().hex()
    _compare(path, record, rows=len(shard), first_key=first, last_key=last)
    return Commit(
        keys=shard.keys.tobytes(),
        versions=_versions(manifest),
        file=path.name,
        size_bytes=size_bytes,
        sha256=record.get("sha256") or file_sha256(path).hex(),
    )


def _compare(path: Path, record: Mapping[str, Any], **found: object) -> None:
    for name, value in found.items():
        if record.get(name, value) != value:
            raise ShardCorrupt(
                f"{path}: {name} {record[name]} was committed, {value} found; {REPAIR}"
            )


def _versions(manifest: Manifest) -> Mapping[str, str]:
    return manifest.provenance.get("versions", {})
