"""JSON objects and bytes that carry the sha256 of their content: a changed bit is noticed."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from ..errors import CacheError
from .atomic import parse_json_object, unique_names
from .fingerprint import canonical_json

_CHECKSUM = "checksum"
_CHECKSUM_BYTES = 32


def seal(content: Mapping[str, Any]) -> bytes:
    """Return a JSON object for people and programs, with its own checksum."""
    sealed = {**content, _CHECKSUM: _checksum(content)}
    return (json.dumps(sealed, indent=2, sort_keys=True, allow_nan=False) + "\n").encode()


def unseal(data: bytes, path: PurePath) -> dict[str, Any]:
    """Return what was sealed; `path` names it in messages.

    Raises:
        CacheError: If it is no JSON object, a name stands twice, or anything was changed.
    """
    content = parse_json_object(data, str(path), CacheError, hook=unique_names)
    stored = content.pop(_CHECKSUM, None)
    if stored != _checksum(content):
        raise CacheError(
            f"{path}: its content does not give the checksum {stored!r} that it carries: it is "
            "damaged or was edited; run: pfcli verify"
        )
    return content


def sealed_bytes(content: bytes) -> bytes:
    """Return bytes behind their own checksum."""
    return hashlib.sha256(content).digest() + content


def unsealed_bytes(sealed: bytes | None) -> bytes | None:
    """Return what was sealed, None where that is not whole."""
    checksum, content = (sealed or b"")[:_CHECKSUM_BYTES], (sealed or b"")[_CHECKSUM_BYTES:]
    return content if hashlib.sha256(content).digest() == checksum else None


def _checksum(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(canonical_json(content).encode()).hexdigest()
