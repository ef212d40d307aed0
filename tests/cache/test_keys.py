import hashlib
from pathlib import Path

import pytest

from promptfuse.cache.keys import (
    BLANK_KEY,
    KEY_BYTES,
    file_sha256,
    pack_keys,
    span_key,
    unpack_keys,
)
from promptfuse.errors import CacheError

SHA256_OF_NOTHING = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_key_is_the_sha256_of_the_bytes_whatever_the_name(tmp_path: Path):
    empty = tmp_path / "empty"
    empty.touch()
    assert file_sha256(empty).hex() == SHA256_OF_NOTHING
    content = b"0123456789abcdef" * 200_000  # more than one block
    for name in ("a.jpg", "b.png"):
        (tmp_path / name).write_bytes(content)
        assert file_sha256(tmp_path / name) == hashlib.sha256(content).digest()


def test_spans_of_one_file_have_their_own_keys(tmp_path: Path):
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"clip")
    whole = hashlib.sha256(b"clip").digest()
    assert file_sha256(path) == whole
    assert span_key(whole, (0.5, 2)) == hashlib.sha256(whole + b"@0.500-2.000").digest()
    assert len({whole, span_key(whole, (0, 1)), span_key(whole, (0, 1.001))}) == 3


def test_packing_keeps_trailing_zero_bytes():
    keys = [BLANK_KEY, b"\x01" + bytes(31), bytes(31) + b"\x01", b"\xff" * 32]
    packed = pack_keys(keys)
    assert packed.shape == (4, KEY_BYTES)
    assert unpack_keys(packed) == keys
    assert unpack_keys(pack_keys([])) == []


def test_a_short_key_is_named():
    with pytest.raises(CacheError, match=r"b'short' has 5"):
        pack_keys([BLANK_KEY, b"short"])
