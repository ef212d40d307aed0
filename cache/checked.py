"""Files whose bytes are compared with their sha256 once, and again only when they change."""

import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import chain
from pathlib import Path, PurePath

from tqdm import tqdm

from ..errors import ShardCorrupt
from .atomic import write_atomic
from .keys import file_sha256, files_sha256
from .objects import Folder, Store, store_at

MEMO_NAME = ".checked.json"

#: A file changed this shortly ago may change again without another time of change.
SETTLED_NS = 2 * 10**9
_WORKERS = 4
_SHOWN_BYTES = 2 * 2**30

_State = tuple[int, int, int]
_checked: dict[Path, tuple[_State, str]] = {}


def check_files(
    folder: PurePath,
    expected: Mapping[str, str],
    *,
    fix: str,
    validate: Callable[[Path], object] | None = None,
) -> None:
    """Check that files of a folder have these sha256 (in hex, by name), each once.

    Those of an object store are mirrored here first, and fetched anew where the mirror's differ.
    What was checked is remembered by size, time of change and inode: for the process, and beside
    the files where that folder can be written.

    Args:
        folder: Where the files lie.
        expected: The sha256 of each file.
        fix: What to do about a file that is missing or changed, for the message.
        validate: What else each file has to pass, once; it raises `ShardCorrupt`.

    Raises:
        ShardCorrupt: If a file is missing, cannot be read, or has other bytes.
    """
    store = store_at(folder)
    store.stage(expected)
    memo: dict[str, object] | None = None
    unknown: dict[str, _State] = {}
    for name, sha256 in expected.items():
        state = _state(store, name, fix)
        if _checked.get(store.path(name)) == (state, sha256):
            continue
        memo = _read_memo(store.local) if memo is None else memo
        if memo.get(name) == [*state, sha256]:
            _checked[store.path(name)] = (state, sha256)
        else:
            unknown[name] = state
    if unknown and memo is not None:
        _hash_all(store, {name: expected[name] for name in unknown}, fix)
        if validate is not None:
            for name in unknown:
                validate(store.path(name))
        _remember(store, memo, unknown, expected)


def sha256_once(paths: Sequence[Path]) -> str:
    """Return the sha256 of files' bytes, one after the other, read again only when they change.

    It is remembered as what was checked is, with a checksum of its own: none is expected here.
    """
    folder, name = paths[0].parent, paths[0].name
    states = [file_state(path) for path in paths]
    memo = _read_memo(folder)
    held = memo.get(name)
    sha256 = held[-2] if isinstance(held, list) and len(held) > 1 else None
    if held == _remembered(states, sha256):
        return str(sha256)
    sha256 = files_sha256(paths)
    settled = time.time_ns() - max(state[1] for state in states) > SETTLED_NS
    if settled and [file_state(path) for path in paths] == states:
        _write_memo(Folder(folder), {**memo, name: _remembered(states, sha256)})
    return sha256


def _remembered(states: Sequence[_State], sha256: object) -> list[object]:
    said: list[object] = [*chain.from_iterable(states), sha256]
    return [*said, hashlib.sha256(json.dumps(said).encode()).hexdigest()]


def file_state(path: Path | str) -> _State:
    """Return a file's size in bytes, time of change in nanoseconds, and inode."""
    status = os.stat(path)  # noqa: PTH116  # a path object each is slow for very many
    return status.st_size, status.st_mtime_ns, status.st_ino


def _state(store: Store, name: str, fix: str) -> _State:
    try:
        return file_state(store.path(name))
    except OSError as error:
        raise ShardCorrupt(f"{store.root / name}: {error.strerror or error}; {fix}") from error


def _hash_all(store: Store, expected: Mapping[str, str], fix: str) -> None:
    size_bytes = sum(_state(store, name, fix)[0] for name in expected)
    with (
        ThreadPoolExecutor(_WORKERS) as pool,
        tqdm(
            total=size_bytes,
            desc=f"check {store.root.name}",
            unit="B",
            unit_scale=True,
            disable=None if size_bytes > _SHOWN_BYTES else True,
        ) as bar,
    ):
        hashes = pool.map(lambda name: _sha256(store, name, fix), expected)
        for (name, sha256), held in zip(expected.items(), hashes, strict=True):
            if held != sha256 and store.renew(name):
                held = _sha256(store, name, fix)
            if held != sha256:
                place = store.root / name
                raise ShardCorrupt(
                    f"{place}: bytes changed: sha256 {sha256} expected, {held} found; {fix}"
                )
            bar.update(_state(store, name, fix)[0])


def _sha256(store: Store, name: str, fix: str) -> str:
    try:
        return file_sha256(store.path(name)).hex()
    except OSError as error:
        raise ShardCorrupt(f"{store.root / name}: cannot be read: {error}; {fix}") from error


def _read_memo(folder: Path) -> dict[str, object]:
    """Return what is remembered beside the files; a memo that cannot be read says nothing."""
    try:
        content = json.loads((folder / MEMO_NAME).read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _remember(
    store: Store,
    memo: dict[str, object],
    states: Mapping[str, _State],
    expected: Mapping[str, str],
) -> None:
    """Remember files that did not change while they were hashed, nor shortly before."""
    now = time.time_ns()
    settled = {
        name: state
        for name, state in states.items()
        if _state(store, name, "") == state and now - state[1] > SETTLED_NS
    }
    for name, state in settled.items():
        _checked[store.path(name)] = (state, expected[name])
        memo[name] = [*state, expected[name]]
    if settled:
        _write_memo(store, memo)


def _write_memo(store: Store, memo: Mapping[str, object]) -> None:
    kept = {name: entry for name, entry in memo.items() if store.path(name).exists()}
    with suppress(OSError):  # a folder that may only be read is checked once a process instead
        write_atomic(store.path(MEMO_NAME), json.dumps(kept))
