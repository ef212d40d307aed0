"""The log of a feature set: finished shards, and media that could not be encoded."""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import CacheError
from .atomic import append_lines, keep_lines, read_lines, write_lines
from .keys import KEY_BYTES

COMMITS_NAME = "commits.jsonl"
FAILURES_NAME = "failures.jsonl"

SHARD_NAME = re.compile(r"shard-(\d+)\.\w+")

_HEX = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Commit:
    """One finished shard. What no commit names does not exist.

    The file is None where only failures were committed; sha256 and keys are in hex; `failures` is
    the number of lines of `failures.jsonl` that are valid up to this commit.
    """

    file: str | None
    rows: int
    size_bytes: int
    sha256: str | None
    first_key: str | None
    last_key: str | None
    failures: int

    def __post_init__(self) -> None:
        for name in ("rows", "size_bytes", "failures"):
            count = getattr(self, name)
            if type(count) is not int or not 0 <= count < 2**63:
                raise CacheError(f"{name} is {count!r}, a count was expected")
        if (self.file is None) != (self.rows == 0):
            raise CacheError(f"{self.rows} rows in file {self.file!r}")
        if self.file is not None:
            if not SHARD_NAME.fullmatch(self.file):
                raise CacheError(f"{self.file!r} is not a shard's name, such as shard-00000.arrow")
            for name in ("sha256", "first_key", "last_key"):
                if not _HEX.fullmatch(str(getattr(self, name))):
                    raise CacheError(f"{name} is {getattr(self, name)!r}, 64 hex digits expected")


@dataclass(frozen=True)
class Failure:
    """A medium that could not be used.

    Attributes:
        key: Its key, or None where its bytes could not even be read.
        path: Where it was, relative to the data folder.
        reason: The stable name of the kind of failure, such as "damaged".
        message: What happened, for people.
    """

    key: bytes | None
    path: str
    reason: str
    message: str

    def __post_init__(self) -> None:
        if self.key is not None and len(self.key) != KEY_BYTES:
            raise CacheError(f"a key has {KEY_BYTES} bytes; {self.key!r} has {len(self.key)}")
        for name in ("path", "reason", "message"):
            if not isinstance(getattr(self, name), str):
                raise CacheError(f"a failure's {name} is text; got {getattr(self, name)!r}")

    def to_json(self) -> dict[str, Any]:
        """Return the failure as a JSON object, its key in hex."""
        return {**asdict(self), "key": None if self.key is None else self.key.hex()}


def only_failures(failures: int) -> Commit:
    """Return a commit that names no shard, and vouches for so many failure lines."""
    return Commit(None, 0, 0, None, None, None, failures)


def read_commits(folder: Path) -> list[Commit]:
    """Return the commits of a feature set, oldest first."""
    path = folder / COMMITS_NAME
    return [_commit(path, n, record) for n, record in enumerate(read_lines(path), start=1)]


def append_commit(folder: Path, commit: Commit) -> None:
    """Add one fsynced line to the log."""
    append_lines(folder / COMMITS_NAME, [asdict(commit)])


def write_commits(folder: Path, commits: Sequence[Commit]) -> None:
    """Replace the log atomically."""
    write_lines(folder / COMMITS_NAME, map(asdict, commits))


def committed_failures(commits: Sequence[Commit]) -> int:
    """Return how many lines of `failures.jsonl` the log vouches for."""
    return commits[-1].failures if commits else 0


def read_failure_lines(path: Path, count: int | None = None) -> list[Failure]:
    """Return the first `count` failures of a file (None: all)."""
    records = read_lines(path)
    if count is not None and len(records) < count:
        raise CacheError(f"{path}: {count} lines were committed, {len(records)} are there")
    return [_failure(path, n, record) for n, record in enumerate(records[:count], start=1)]


def append_failures(folder: Path, failures: Sequence[Failure]) -> None:
    """Add failures, which count only once a commit says so."""
    append_lines(folder / FAILURES_NAME, [failure.to_json() for failure in failures])


def write_failures(path: Path, failures: Sequence[Failure]) -> None:
    """Replace a file of failures atomically."""
    write_lines(path, [failure.to_json() for failure in failures])


def drop_uncommitted(folder: Path) -> list[Commit]:
    """Return the commits, after cutting torn and uncommitted lines off both logs."""
    commits = read_commits(folder)
    keep_lines(folder / COMMITS_NAME)
    keep_lines(folder / FAILURES_NAME, committed_failures(commits))
    return commits


def drop_failures(folder: Path, commits: Sequence[Commit]) -> list[Commit]:
    """Return the commits without any failure, so that those media are tried again.

    The commit log is replaced first: from then on it vouches for no failure line.
    """
    kept = [replace(commit, failures=0) for commit in commits if commit.file is not None]
    write_commits(folder, kept)
    keep_lines(folder / FAILURES_NAME, 0)
    return kept


def _commit(path: Path, number: int, record: dict[str, Any]) -> Commit:
    try:
        return Commit(**record)
    except (TypeError, ValueError) as error:
        raise CacheError(f"{path}:{number}: not a commit: {error}") from error


def _failure(path: Path, number: int, record: dict[str, Any]) -> Failure:
    try:
        key = record["key"]
        return Failure(**{**record, "key": None if key is None else bytes.fromhex(key)})
    except (KeyError, TypeError, ValueError) as error:
        raise CacheError(f"{path}:{number}: not a failure: {error!r}") from error
