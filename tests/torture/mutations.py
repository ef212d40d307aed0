"""Inputs made of other inputs: bytes changed anywhere, or a value of what is JSON by an odd one."""

import json
import random
import re
import struct
from collections.abc import Iterator
from typing import Any

ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, -5, 1, 3, 0.5, 1e9, 1e308, float("nan"), float("inf"), 2**31, 2**63,
    -(2**63), 10**30, 10**400, "", " ", "x", "\0", "\ud800", "../../up", "/etc/passwd", "1e9",
    "a" * 5000, "é" * 300, [], {}, [[]], [None], ["", ""], [1, -2], ["x", "x"], {"": {}}, {"x": 1},
)  # fmt: skip
_NUMBERS = (0, 1, 0x7F, 0xFF, 0x7FFFFFFF, 0xFFFFFFFF, 2**63 - 1, 2**64 - 1)


def mutated(data: bytes, drawn: random.Random) -> bytes:
    """Return another input."""
    for _ in range(drawn.choice((1, 1, 1, 2, 4))):
        made = odd_value(data, drawn) if drawn.random() < 0.8 else None
        data = other_bytes(data, drawn) if made is None else made
    return data


def odd_value(data: bytes, drawn: random.Random) -> bytes | None:
    """Return JSON (one line of it, where there are lines) with a value changed; None if it is not.

    JSON within a text of JSON counts too.
    """
    lines = data.split(b"\n") if data[:1] == b"{" and b"\n{" in data else [data]
    place = drawn.randrange(len(lines))
    try:
        content = json.loads(lines[place])
    except (ValueError, RecursionError):
        return None
    places = list(_places(content))
    if not places:
        return None
    holder, key = drawn.choice(places)
    action = drawn.randrange(6)
    if action == 0:
        del holder[key]
    elif action == 1 and isinstance(holder, dict):
        holder[f"{key}x"] = holder.pop(key)
    elif action == 2:
        holder[key] = [holder[key]] * 3
    elif action == 3:
        other, name = drawn.choice(places)
        holder[key] = json.loads(json.dumps(other[name])) if name in _keys(other) else None
    else:
        holder[key] = drawn.choice(ODD)
    try:
        lines[place] = json.dumps(content).encode()
    except (ValueError, RecursionError):
        return None
    return b"\n".join(lines)


def _keys(holder: Any) -> Any:
    return holder if isinstance(holder, dict) else range(len(holder))


def _places(content: Any) -> Iterator[tuple[Any, Any]]:
    """Yield each value's holder and its key there."""
    if isinstance(content, dict | list):
        for key in list(_keys(content)):
            yield content, key
            yield from _places(content[key])


def other_bytes(data: bytes, drawn: random.Random) -> bytes:
    """Return bytes with some flipped, removed, doubled, or replaced."""
    at = drawn.randrange(len(data) + 1)
    size = min(drawn.choice((1, 2, 4, 8, 16, 64, 1024)), len(data) - at)
    action, part, rest = drawn.randrange(8), data[at : at + size], data[at + size :]
    if action == 0:
        part = bytes([part[0] ^ (1 << drawn.randrange(8))]) + part[1:] if part else b"\0"
    elif action == 1:
        part = drawn.randbytes(size)
    elif action == 2:
        part = b""
    elif action == 3:
        part *= drawn.choice((2, 3, 200))
    elif action == 4:
        number = drawn.choice(_NUMBERS)
        part = struct.pack("<Q", number)[: drawn.choice((1, 2, 4, 8))]
        rest = data[at + len(part) :]
    elif action == 5:
        rest = b""
    elif action == 6:
        start = drawn.randrange(len(data) + 1)
        part = data[start : start + size]
    else:
        number = str(drawn.choice((0, -1, 10**9, 2**63, 10**30, "9" * 5000))).encode()
        return re.sub(rb"\d+", lambda _: number, data[:at], count=1) + data[at:]
    return data[:at] + part + rest
