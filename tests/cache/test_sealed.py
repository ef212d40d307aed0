from pathlib import Path

import pytest

from promptfuse.cache.sealed import seal, unseal
from promptfuse.errors import CacheError

CONTENT = {"rows": 3, "name": "ü", "nested": {"b": [1.5, None], "a": True}}


def test_what_was_sealed_is_unsealed():
    assert unseal(seal(CONTENT), Path("x.json")) == CONTENT


def test_a_seal_is_the_same_for_the_same_content():
    assert seal(CONTENT) == seal(dict(reversed(CONTENT.items())))


def test_every_changed_bit_is_noticed_or_leaves_the_content_as_it_was():
    data = seal(CONTENT)
    for position in range(len(data)):
        for bit in range(8):
            changed = bytearray(data)
            changed[position] ^= 1 << bit
            try:
                assert unseal(bytes(changed), Path("x.json")) == CONTENT
            except CacheError as error:
                assert "x.json" in str(error)  # noqa: PT017  (either outcome is right)


def test_an_object_without_a_checksum_is_refused():
    with pytest.raises(CacheError, match=r"x\.json.*checksum None"):
        unseal(b'{"rows": 3}', Path("x.json"))
