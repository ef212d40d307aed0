"""The local mirror of object stores: files to be mapped, of which the least recently used go."""

import os
import time
from contextlib import suppress
from pathlib import Path
from threading import Lock

from ..errors import ConfigError
from .places import Url

MIRROR = "PROMPTFUSE_MIRROR"
MIRROR_GB = "PROMPTFUSE_MIRROR_GB"

_DEFAULT_GB = 50.0
_DATA = ".data"  # media, of which none goes while they are read
_KEPT = 0.9  # of the limit, so that not every file that comes makes another go

_lock = Lock()
_held_bytes: dict[Path, int] = {}


def mirrored(url: Url) -> Path:
    """Return where the objects below a URL are mirrored: below $PROMPTFUSE_MIRROR, if it is set."""
    return _folder().joinpath(*(part.rstrip(":") for part in url.parts))


def fetched_path(url: Url) -> Path:
    """Return where the objects below a URL lie here, once they are fetched."""
    return fetched_root().joinpath(*(part.rstrip(":") for part in url.parts))


def fetched_root() -> Path:
    """Return the folder below which all fetched objects lie."""
    return _folder() / _DATA


def mirror_bytes() -> int:
    """Return how much the mirror may hold: $PROMPTFUSE_MIRROR_GB, 50 by default."""
    told = os.environ.get(MIRROR_GB, "")
    try:
        size = float(told or _DEFAULT_GB)
    except ValueError:
        size = -1.0
    if not 0 <= size < float("inf"):
        raise ConfigError(f"{MIRROR_GB} is {told!r}; a number of gigabytes was expected")
    return int(size * 1e9)


def note_use(path: Path) -> None:
    """Let a mirrored file count as used now; its time of change stays."""
    os.utime(path, ns=(time.time_ns(), path.stat().st_mtime_ns))


def make_room(new: Path) -> None:
    """Count a file that was just mirrored, and remove those longest unused that are too many.

    What another process still has mapped stays readable to it.
    """
    folder, most = _folder(), mirror_bytes()
    with _lock:
        if folder in _held_bytes:
            with suppress(FileNotFoundError):  # another thread has made room of it already
                _held_bytes[folder] += new.stat().st_size
        if _held_bytes.get(folder, most + 1) <= most:
            return
        files = sorted(_files(folder), key=lambda file: file[1].st_atime_ns)
        held = sum(status.st_size for _, status in files)
        for path, status in files if held > most else ():
            if held <= most * _KEPT:
                break
            if path == new:  # begun before others that were whole sooner
                continue
            path.unlink(missing_ok=True)
            held -= status.st_size
        _held_bytes[folder] = held


def _files(folder: Path) -> list[tuple[Path, os.stat_result]]:
    found: list[tuple[Path, os.stat_result]] = []
    for where, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for path in (Path(where, name) for name in names if not name.startswith(".")):
            try:
                found.append((path, path.stat()))
            except FileNotFoundError:  # another process has just removed it
                continue
    return found


def _folder() -> Path:
    told = os.environ.get(MIRROR)
    if told:
        return Path(told).expanduser().absolute()
    caches = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(caches).expanduser() / "promptfuse" / "mirror"
