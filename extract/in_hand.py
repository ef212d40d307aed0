"""Which media were being decoded when a process died, and whether it was their decoder's doing."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from itertools import count
from pathlib import Path, PurePath
from threading import get_native_id, local
from typing import Self

from ..cache.atomic import is_gone, make_folder, writer_name
from ..cache.keys import KEY_BYTES
from ..cache.objects import store_at
from ..errors import MediumCrashed
from .datasets.ingest import MediumRef
from .encoders.base import Encoder
from .media import Limits
from .prepare import decoding_of

_PREFIX = ".in-hand."
_SLOT_BYTES = 2 * KEY_BYTES + 1  # a key in hex, and a line's end
_FREE = b" " * (_SLOT_BYTES - 1) + b"\n"
_SILENT_SECONDS = 600.0  # a writer on another machine that wrote nothing for so long has ended

#: Of processes that somebody ended.
_NO_CRASH = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)

_open: set[Path] = set()


class InHand:
    """Notes of what the threads of this process decode, which outlive it if it is killed.

    Each thread has a slot in a small file in the cache's folder, or in a store's mirror; nothing is
    synced, since what a process wrote is there after its death. What dead processes had in hand is
    taken over into the notes, and stays there until this one ends in order.

    Args:
        cache_root: The cache's folder.

    Attributes:
        suspects: The keys of media that were in hand when a process died.
    """

    def __init__(self, cache_root: PurePath) -> None:
        folder = store_at(cache_root).local
        make_folder(folder)
        self._path = folder / f"{_PREFIX}{get_native_id()}.{writer_name()}"
        self._slots = count()
        self._own = local()
        left = [path for path in folder.glob(f"{_PREFIX}*") if _is_left(path)]
        self.suspects = frozenset(key for path in left for key in _noted(path))
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o666)
        _open.add(self._path)
        for key in self.suspects:
            self._write(next(self._slots), _slot(key))
        for path in left:
            if path != self._path:
                path.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)
        _open.discard(self._path)
        self._path.unlink(missing_ok=True)

    @contextmanager
    def noting(self, key: bytes) -> Iterator[None]:
        """Yield while a medium is noted as being in the hand of this thread."""
        if not hasattr(self._own, "slot"):
            self._own.slot = next(self._slots)
        self._write(self._own.slot, _slot(key))
        try:
            yield
        finally:
            self._write(self._own.slot, _FREE)

    def _write(self, slot: int, content: bytes) -> None:
        os.pwrite(self._descriptor, content, slot * _SLOT_BYTES)


def _slot(key: bytes) -> bytes:
    return key.hex().encode() + b"\n"


def _is_left(path: Path) -> bool:
    """Return whether notes are those of a process that is dead, or silent on another machine."""
    writer = path.name.rpartition(".")[2]
    if writer == writer_name():  # of this number: a container's first process has always the same
        return path not in _open
    if is_gone(writer):
        return True
    with suppress(OSError):
        here = writer.rpartition("-")[0] == writer_name().rpartition("-")[0]
        return not here and time.time() - path.stat().st_mtime > _SILENT_SECONDS
    return False


def _noted(path: Path) -> Iterator[bytes]:
    try:
        content = path.read_bytes()
    except OSError:  # another process has just taken it over
        return
    for line in content.split(b"\n"):
        with suppress(ValueError):
            key = bytes.fromhex(line.decode("ascii"))
            if len(key) == KEY_BYTES:
                yield key


def crashing(
    media: Sequence[tuple[MediumRef, Mapping[str, Encoder]]], limits: Limits
) -> dict[bytes, MediumCrashed]:
    """Return those media whose decoding ends a process of its own by a signal, by key."""
    crashed: dict[bytes, MediumCrashed] = {}
    left = list(media)
    while left:
        asked = [decoding_of(ref, wanted) | {"limits": asdict(limits)} for ref, wanted in left]
        done, status = _decode_apart(asked)
        if status >= 0 or -status in _NO_CRASH or done >= len(left):
            break
        ref, _ = left[done]
        name = signal.Signals(-status).name
        crashed[ref.key] = MediumCrashed(f"{ref.path}: its decoder ends the process: {name}")
        left = left[done + 1 :]
    return crashed


def _decode_apart(asked: Sequence[Mapping[str, object]]) -> tuple[int, int]:
    """Return how many media a process of its own decoded, and the status it ended with."""
    lines = "".join(json.dumps(line) + "\n" for line in asked)
    done = subprocess.run(  # noqa: S603  # this package's own module
        [sys.executable, "-m", f"{__package__}.decode_apart"],
        input=lines.encode(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=False,
        start_new_session=True,  # an interruption is for this process alone
    )
    return done.stdout.count(b"\n"), done.returncode
