"""The key of a medium: the sha256 of its bytes and, for a clip, of its span."""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from ..errors import CacheError

KEY_BYTES = 32

#: The key of the row that holds the encoder's output for a black image, black frames or silence.
BLANK_KEY = bytes(KEY_BYTES)


def span_key(file_key: bytes, span_seconds: tuple[float, float]) -> bytes:
    """Return the key of a clip of the file whose key is `file_key`."""
    return hashlib.sha256(file_key + b"@%.3f-%.3f" % span_seconds).digest()


def file_sha256(path: Path) -> bytes:
    """Return the 32 bytes of a file's sha256."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").digest()


def files_sha256(paths: Iterable[Path]) -> str:
    """Return the sha256 over several files' bytes, one after the other, in hex."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            hashlib.file_digest(file, lambda: digest)
    return digest.hexdigest()


def pack_keys(keys: Sequence[bytes] | bytes) -> np.ndarray:
    """Return keys, or their bytes end to end, as an array `[N, 32] uint8`."""
    if isinstance(keys, bytes):
        return np.frombuffer(keys, dtype=np.uint8).reshape(-1, KEY_BYTES)
    if set(map(len, keys)) - {KEY_BYTES}:
        wrong = next(key for key in keys if len(key) != KEY_BYTES)
        raise CacheError(f"a key has {KEY_BYTES} bytes; {wrong!r} has {len(wrong)}")
    return np.frombuffer(b"".join(keys), dtype=np.uint8).reshape(-1, KEY_BYTES)


def unpack_keys(packed: np.ndarray) -> list[bytes]:
    """Return the keys of an array `[N, 32] uint8`, trailing zero bytes kept."""
    raw = packed.tobytes()
    return [raw[start : start + KEY_BYTES] for start in range(0, len(raw), KEY_BYTES)]
