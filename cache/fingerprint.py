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


def explain_difference(wanted: Any, held: Any, path: str = "") -> list[str]:
    """Return one line a differing entry, such as `preprocessing.frames: 8 here, 16 wanted`."""
    pairs: list[tuple[Any, Any, str]] = []
    if isinstance(wanted, Mapping) and isinstance(held, Mapping):
        for name in sorted({*wanted, *held}):
            entry = f"{path}.{name}" if path else name
            pairs.append((wanted.get(name, _ABSENT), held.get(name, _ABSENT), entry))
    elif _is_list(wanted) and _is_list(held) and len(wanted) == len(held):
        pairs = [(*pair, f"{path}[{n}]") for n, pair in enumerate(zip(wanted, held, strict=True))]
    elif _shown(wanted) != _shown(held):
        return [f"{path}: {_shown(held)} here, {_shown(wanted)} wanted"]
    return [line for pair in pairs for line in explain_difference(*pair)]


def _is_list(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def _shown(value: object) -> str:
    return "nothing" if value is _ABSENT else canonical_json(value)
