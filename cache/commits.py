"""Commits: one sealed object a finished shard, with the failures among the same media."""

import hashlib
import json
import re
from base64 import b64decode, b64encode
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePath
from typing import Any, Self

from ..errors import CacheError
from .atomic import read_lines, shorten, write_lines
from .keys import KEY_BYTES
from .objects import Store
from .sealed import seal, unseal

COMMITS_NAME = "commits"
FAILURES_NAME = "failures.jsonl"

#: A shard's name, by that of its commit and the start of its sha256, or by number in version 1.
SHARD_NAME = re.compile(
    r"shard-(?:(?P<commit>[0-9a-f]{16}(?:-\d{1,9})?)-[0-9a-f]{16}|\d+)\.(?:arrow|h5)"
)

_HEX = re.compile(r"[0-9a-f]{64}")
_NAME_CHARACTERS = 16


@dataclass(frozen=True)
class Failure:
    """A medium that could not be used.

    Attributes:
        key: Its key, or None where its bytes could not even be read.
        path: Where it was, relative to the data folder.
        reason: The stable name of the kind of failure, such as "damaged".
        message: What happened, for people.
        limit: Where a limit refused it, that limit by name, such as `{"max_pixels": 1000}`.
    """

    key: bytes | None
    path: str
    reason: str
    message: str
    limit: Mapping[str, float] | None = None

    def __post_init__(self) -> None:
        if self.key is not None and len(self.key) != KEY_BYTES:
            raise CacheError(f"a key has {KEY_BYTES} bytes; {self.key!r} has {len(self.key)}")
        for name in ("path", "reason", "message"):
            if not isinstance(getattr(self, name), str):
                raise CacheError(f"a failure's {name} is text; got {getattr(self, name)!r}")
        limit = {} if self.limit is None else self.limit
        if not isinstance(limit, Mapping) or not all(
            isinstance(value, int | float) for value in limit.values()
        ):
            raise CacheError(f"a failure's limit is numbers by name; got {shorten(limit)}")

    def to_json(self) -> dict[str, Any]:
        """Return the failure as a JSON object, its key in hex."""
        return {**asdict(self), "key": None if self.key is None else self.key.hex()}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Self:
        """Return the failure that `to_json` gave."""
        key = record["key"]
        return cls(**{**record, "key": None if key is None else bytes.fromhex(key)})


@dataclass(frozen=True)
class Commit:
    """Media that were attempted together. What no commit names does not exist.

    Attributes:
        keys: Of the rows, 32 bytes each, in the shard's order.
        failures: Of the media without a row.
        attempt: 1, or one more than that of the failures that were tried again here.
        versions: Of the packages that made the rows, by name.
        file: The shard; None where there is no row.
        size_bytes: Of the shard.
        sha256: Of the shard, in hex.
    """

    keys: bytes
    failures: tuple[Failure, ...] = ()
    attempt: int = 1
    versions: Mapping[str, str] = field(default_factory=dict)
    file: str | None = None
    size_bytes: int = 0
    sha256: str | None = None

    def __post_init__(self) -> None:
        for name, least in (("size_bytes", 0), ("attempt", 1)):
            count = getattr(self, name)
            if type(count) is not int or not least <= count < 2**63:
                raise CacheError(f"{name} is {shorten(count)}, a count was expected")
        if len(self.keys) % KEY_BYTES:
            raise CacheError(f"keys of {len(self.keys)} bytes, not of {KEY_BYTES} each")
        if any(failure.key is None for failure in self.failures):
            raise CacheError("a failure in a feature set has a key")
        if not isinstance(self.versions, Mapping):
            raise CacheError(f"versions is {shorten(self.versions)}, an object was expected")
        if self.file is not None and not (
            SHARD_NAME.fullmatch(self.file) and _HEX.fullmatch(str(self.sha256)) and self.keys
        ):
            raise CacheError(f"{self.rows} rows in shard {self.file!r} of sha256 {self.sha256!r}")

    @property
    def rows(self) -> int:
        """The number of rows."""
        return len(self.keys) // KEY_BYTES

    @property
    def row_keys(self) -> list[bytes]:
        """The key of each row."""
        return [self.keys[at : at + KEY_BYTES] for at in range(0, len(self.keys), KEY_BYTES)]

    @property
    def all_keys(self) -> list[bytes]:
        """The keys of rows and failures."""
        failed = [failure.key for failure in self.failures if failure.key is not None]
        return self.row_keys + failed

    @property
    def name(self) -> str:
        """The name of these media, whoever encodes them, and of the attempt after the first."""
        name = slice_name(self.all_keys)
        return name if self.attempt == 1 else f"{name}-{self.attempt}"

    def about(self) -> str:
        """Return, as JSON, what cannot be read off the shard's rows, to be kept in the shard."""
        failures = [failure.to_json() for failure in self.failures]
        said = {"failures": failures, "attempt": self.attempt, "versions": dict(self.versions)}
        return json.dumps(said, sort_keys=True, allow_nan=False)

    def to_json(self) -> dict[str, Any]:
        """Return the commit as a JSON object."""
        said = {name: getattr(self, name) for name in ("file", "size_bytes", "sha256")}
        keys = b64encode(self.keys).decode("ascii")
        return {**said, **json.loads(self.about()), "rows": self.rows, "keys": keys}

    @classmethod
    def from_json(cls, content: Mapping[str, Any], where: PurePath | str) -> Self:
        """Return the commit that `to_json` gave; `where` names it in messages."""
        try:
            held = {**content, "keys": b64decode(content["keys"], validate=True)}
            held["failures"] = tuple(Failure.from_json(entry) for entry in content["failures"])
            rows = held.pop("rows")
            commit = cls(**held)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise CacheError(f"{where}: not a commit: {error!r}; {REPAIR}") from error
        if rows != commit.rows or (commit.file is None) != (commit.rows == 0):
            raise CacheError(f"{where}: {rows} rows in file {commit.file!r}; {REPAIR}")
        return commit


REPAIR = "run: pfcli verify --repair, then pfcli extract"


def slice_name(keys: Iterable[bytes]) -> str:
    """Return the name of some media, in whichever order: 16 hex digits."""
    return hashlib.sha256(b"".join(sorted(keys))).hexdigest()[:_NAME_CHARACTERS]


def commit_names(folder: Store) -> list[str]:
    """Return the names of a feature set's commits, sorted."""
    held = folder.list(COMMITS_NAME)
    return sorted(Path(name).stem for name in held if name.endswith(".json"))


def commit_object(name: str) -> str:
    """Return where the commit of that name lies in its feature set."""
    return f"{COMMITS_NAME}/{name}.json"


def read_commit(folder: Store, name: str) -> Commit:
    """Return one commit, known to be what was written under its name."""
    return _commit(folder, name, folder.get(commit_object(name)))


def find_commit(folder: Store, name: str) -> Commit | None:
    """Return one commit, None where there is none of that name."""
    data = folder.get(commit_object(name))
    return None if data is None else _commit(folder, name, data)


def _commit(folder: Store, name: str, data: bytes | None) -> Commit:
    path = folder.root / commit_object(name)
    if data is None:
        raise CacheError(f"{path}: no such commit; {REPAIR}")
    commit = Commit.from_json(unseal(data, path), path)
    if commit.name != name:
        raise CacheError(f"{path}: its media have the name {commit.name}; {REPAIR}")
    return commit


def read_commits(folder: Store, *, but: Container[str] = ()) -> list[Commit]:
    """Return the commits of a feature set, by name, without those of some names."""
    names = [name for name in commit_names(folder) if name not in but]
    held = list(folder.get_many(commit_object(name) for name in names))
    if None in held and not set(names) <= set(commit_names(folder)):
        return read_commits(folder, but=but)  # compacted in this instant
    return [_commit(folder, name, data) for name, data in zip(names, held, strict=True)]


def put_commit(folder: Store, commit: Commit, *, replace: bool = False) -> bool:
    """Write a commit unless there is one of its name, or in place of it; return whether it was."""
    name, content = commit_object(commit.name), seal(commit.to_json())
    if replace:
        folder.put(name, content)
        return True
    return folder.put_if_absent(name, content)


def standing_failures(commits: Iterable[Commit]) -> dict[bytes, Failure]:
    """Return the failures of media without a row; of several of a medium that tried last."""
    commits = sorted(commits, key=lambda commit: commit.attempt)
    failures = {
        failure.key: failure
        for commit in commits
        for failure in commit.failures
        if failure.key is not None
    }
    for commit in commits if failures else ():
        for key in commit.row_keys:
            failures.pop(key, None)
    return failures


def read_failure_lines(path: Path, count: int | None = None) -> list[Failure]:
    """Return the first `count` failures of a file (None: all)."""
    records = read_lines(path)
    if count is not None and len(records) < count:
        raise CacheError(f"{path}: {count} lines were committed, {len(records)} are there")
    return [_failure(path, n, record) for n, record in enumerate(records[:count], start=1)]


def write_failures(path: Path, failures: Sequence[Failure]) -> None:
    """Replace a file of failures atomically."""
    write_lines(path, [failure.to_json() for failure in failures])


def _failure(path: Path, number: int, record: dict[str, Any]) -> Failure:
    try:
        return Failure.from_json(record)
    except (KeyError, TypeError, ValueError) as error:
        raise CacheError(f"{path}:{number}: not a failure: {error!r}") from error
