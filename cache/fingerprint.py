"""What made a feature set, as a short hash, and where two of them differ."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import CacheError

FINGERPRINT_CHARACTERS = 16

_ABSENT = object()


def canonical_json(obj: object) -> str:
    """Return the one JSON text of a value: keys sorted, no spaces, no NaN."""
    try:
        return json.dumps(obj, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise CacheError(f"{obj!r} cannot be written as JSON: {error}") from error


def fingerprint(identity: Mapping[str, Any]) -> str:
    """Return the first 16 hex digits of the sha256 of the identity's canonical JSON."""
    digest = hashlib.sha256(canonical_json(identity).encode("ascii")).hexdigest()
    return digest[:FINGERPRINT_CHARACTERS]


def explain_difference(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """Return one line a differing entry, such as `preprocessing.frames: 8 here, 16 wanted`."""
    return _differences(wanted, found, path="")


def _differences(wanted: Any, found: Any, *, path: str) -> list[str]:
    if isinstance(wanted, Mapping) and isinstance(found, Mapping):
        names = sorted(set(wanted) | set(found))
        return [
            line
            for name in names
            for line in _differences(
                wanted.get(name, _ABSENT),
                found.get(name, _ABSENT),
                path=f"{path}.{name}" if path else name,
            )
        ]
    if _is_list(wanted) and _is_list(found) and len(wanted) == len(found):
        return [
            line
            for index, pair in enumerate(zip(wanted, found, strict=True))
            for line in _differences(*pair, path=f"{path}[{index}]")
        ]
    if _shown(wanted) == _shown(found):
        return []
    return [f"{path}: {_shown(found)} here, {_shown(wanted)} wanted"]


def _is_list(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def _shown(value: object) -> str:
    return "nothing" if value is _ABSENT else canonical_json(value)
