"""Files that are old or new and never half: atomic replacement, fsynced log lines, locks."""

import errno
import fcntl
import json
import os
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import CacheBusy, CacheError, LocksMissing, PromptFuseError

_TEMPORARY_SUFFIX = ".partial"
_LOCK_NAME = ".lock"
Hook = Callable[[list[tuple[str, Any]]], Any]
"""What makes a JSON object of its pairs, in place of `dict`."""

_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path; what is written there replaces `path`, fsynced, on success."""
    temporary = temporary_path(path)
    try:
        yield temporary
        sync(temporary)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync(path.parent)


def temporary_path(path: Path) -> Path:
    """Return where this thread writes a file before it takes its name."""
    thread = threading.get_native_id()
    return path.with_name(f".{path.name}.{thread}.{writer_name()}{_TEMPORARY_SUFFIX}")


def writer_name() -> str:
    """Return the name of this process among all that write: its machine and number."""
    return f"{_machine()}-{os.getpid()}"


def _machine() -> str:
    return socket.gethostname().replace(".", "_")


def is_gone(writer: str) -> bool:
    """Return whether a writer ran on this machine and does no more; of others none can know."""
    host, _, number = writer.rpartition("-")
    if host != _machine() or not number.isdecimal():
        return False
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        return False
    return False


def read_json_object(
    path: Path,
    error: type[PromptFuseError] = CacheError,
    *,
    missing: type[PromptFuseError] | None = None,
    owner: str = "",
    remedy: str = "",
    hook: Hook | None = None,
) -> dict[str, Any]:
    """Return the JSON object in a file; `read_json` takes the same, and returns any value.

    Args:
        path: The file.
        error: What is raised.
        missing: What is raised where there is no such file, if not `error`.
        owner: What the file belongs to, for messages, such as "model 'bart'".
        remedy: What to do where it is absent.
        hook: What makes each object of its pairs, in place of `dict`.
    """
    where = f"{owner}: {path}" if owner else str(path)
    content = read_json(path, error, missing=missing, owner=owner, remedy=remedy, hook=hook)
    return _as_object(content, where, error)


def read_json(
    path: Path,
    error: type[PromptFuseError] = CacheError,
    *,
    missing: type[PromptFuseError] | None = None,
    owner: str = "",
    remedy: str = "",
    hook: Hook | None = None,
) -> Any:
    """Return the JSON value in a file; see `read_json_object`."""
    where = f"{owner}: {path}" if owner else str(path)
    try:
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as problem:
        raise (missing or error)(f"{where}: no such file{remedy and f'; {remedy}'}") from problem
    except OSError as problem:
        raise error(f"{where}: cannot be read: {problem}") from problem
    return _parse_json(data, where, error, hook)


def parse_json_object(
    data: bytes,
    where: str,
    error: type[PromptFuseError] = CacheError,
    *,
    hook: Hook | None = None,
) -> dict[str, Any]:
    """Return the JSON object that these bytes are; `where` names them in the error raised."""
    return _as_object(_parse_json(data, where, error, hook), where, error)


def _parse_json(data: bytes, where: str, error: type[PromptFuseError], hook: Hook | None) -> Any:
    try:
        return json.loads(data.decode("utf-8-sig"), object_pairs_hook=hook)
    except UnicodeDecodeError as problem:
        raise error(f"{where}: not UTF-8 text at byte {problem.start}") from problem
    except RecursionError as problem:
        raise error(f"{where}: not JSON: nested too deeply") from problem
    except ValueError as problem:
        raise error(f"{where}: not JSON: {problem}") from problem


def _as_object(content: Any, where: str, error: type[PromptFuseError]) -> dict[str, Any]:
    if not isinstance(content, dict):
        raise error(f"{where}: must be an object, not {shorten(content)}")
    return content


def unique_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object, a hook that refuses one in which a name stands twice."""
    content = dict(pairs)
    if len(content) < len(pairs):
        (twice, _), *_ = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"{shorten(twice)} stands twice in one object")
    return content


def shorten(value: object) -> str:
    """Return a value's repr, cut so that a message stays readable."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def write_atomic(path: Path, content: bytes | str) -> None:
    """Write `content` to a path, which holds the old or the new one after a crash."""
    data = content.encode("utf-8") if isinstance(content, str) else content
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON object for people and programs to a path, atomically."""
    write_atomic(path, json.dumps(content, indent=2, sort_keys=True) + "\n")


def write_lines(path: Path, records: Iterable[Mapping[str, Any]]) -> None:
    """Replace a file of JSON lines atomically."""
    write_atomic(path, _lines_of(records))


def append_lines(path: Path, records: Iterable[Mapping[str, Any]]) -> None:
    """Add JSON lines with one fsync, and one of the folder for a new file."""
    is_new = not path.exists()
    with path.open("ab") as stream:
        stream.write(_lines_of(records))
        stream.flush()
        os.fsync(stream.fileno())
    if is_new:
        sync(path.parent)


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Return a log's records, without a last line that a crash tore."""
    if not path.exists():
        return []
    finished = path.read_bytes().split(b"\n")[:-1]
    return [_record(path, number, line) for number, line in enumerate(finished, start=1)]


def keep_lines(path: Path, count: int | None = None) -> None:
    """Cut a log after its first `count` lines (None: after its last whole line)."""
    content = path.read_bytes() if path.exists() else b""
    whole = content.split(b"\n")[:-1]
    if count is not None and count > len(whole):
        raise CacheError(f"{path}: {count} lines were committed, {len(whole)} are there")
    size_bytes = sum(len(line) + 1 for line in whole[:count])
    if size_bytes != len(content):
        os.truncate(path, size_bytes)
        sync(path)


@contextmanager
def exclusive(folder: Path, *, doing: str, wait: bool = False) -> Iterator[None]:
    """Yield while this process alone may write in `folder`; the lock dies with the process.

    `doing` is what it is for, in the message of `CacheBusy`, which is raised where another process
    holds the lock, unless this one is to `wait`; `LocksMissing` where there are no locks.
    """
    descriptor = os.open(folder / _LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError as error:
            raise CacheBusy(
                f"{folder}: another process is writing here, so {doing} cannot; "
                "wait for it to end and run the command again"
            ) from error
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            raise LocksMissing(
                f"{folder}: its file system has no locks ({error.strerror}), so {doing} cannot "
                "keep other processes away; put the folder on a local disk, or mount it with "
                "locks (NFS: run its lock service, or mount -o local_lock=flock for one machine)"
            ) from error
        yield
    finally:
        os.close(descriptor)


def make_folder(path: Path) -> None:
    """Make a folder and those above it, so that a power cut cannot undo it."""
    if not path.is_dir():
        make_folder(path.parent)
        path.mkdir(exist_ok=True)
        sync(path.parent)


def abandoned_files(folder: Path) -> list[Path]:
    """Return the temporary files that writers that are gone from this machine left in `folder`."""
    return [
        path
        for path in sorted(folder.glob(f".*{_TEMPORARY_SUFFIX}"))
        if is_gone(path.name.removesuffix(_TEMPORARY_SUFFIX).rpartition(".")[2])
    ]


def remove_temporary_files(folder: Path) -> None:
    """Remove what writers that are gone from this machine left in `folder`."""
    for leftover in abandoned_files(folder):
        leftover.unlink(missing_ok=True)


def _lines_of(records: Iterable[Mapping[str, Any]]) -> bytes:
    return "".join(json.dumps(record, allow_nan=False) + "\n" for record in records).encode("ascii")


def _record(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except ValueError as error:
        raise CacheError(f"{path}:{number}: not a JSON line: {line[:80]!r}") from error
    if not isinstance(record, dict):
        raise CacheError(f"{path}:{number}: a JSON object was expected, found {line[:80]!r}")
    return record


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
