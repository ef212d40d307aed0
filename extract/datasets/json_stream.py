"""One large JSON object parsed as it is read, the values of one of its lists one by one."""

import json
import re
from collections.abc import Iterator
from typing import Any, TextIO

from ...cache.atomic import unique_names

_CHUNK_CHARACTERS = 2**20
_skip_space = re.compile(r"[ \t\n\r]*").match
_decode = json.JSONDecoder().raw_decode


def names_in(value: Any) -> int:
    """Return how many names the objects in a JSON value have."""
    if isinstance(value, dict):
        return len(value) + sum(map(names_in, value.values()))
    return sum(map(names_in, value)) if isinstance(value, list) else 0


class JsonStream:
    """A JSON text of which no more is held than a chunk and the value that is parsed."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._text, self._at = "", 0

    def items_of(self, name: str) -> Iterator[Any]:
        """Yield the values of the list under a name in the object that the text is.

        Raises:
            ValueError: If the text is no such object, or a name stands twice in an object.
        """
        seen: set[Any] = set()
        mark = self._expect("{")
        while mark != "}":
            key = self._value()
            if not isinstance(key, str) or key in seen:
                raise ValueError(f"{key!r} is no name, or stands twice")
            seen.add(key)
            self._expect(":")
            if key == name:
                yield from self._items()
            else:
                self._value()
            mark = self._expect(",}")
        if name not in seen or self._mark():
            raise ValueError(f"no {name!r}, or text after the object")

    def _items(self) -> Iterator[Any]:
        self._expect("[")
        if self._mark() == "]":
            return
        self._at -= 1
        mark = ","
        while mark == ",":
            yield self._value()
            mark = self._expect(",]")

    def _value(self) -> Any:
        """Return the value that comes next."""
        self._mark()
        self._at -= 1
        while True:
            try:
                value, end = _decode(self._text, self._at)
                whole = end < len(self._text)  # or else a number may go on
            except json.JSONDecodeError:
                if not self._more():
                    raise
                continue
            if whole or not self._more():
                break
        if self._text.count(":", self._at, end) != names_in(value):
            json.loads(self._text[self._at : end], object_pairs_hook=unique_names)
        self._at = end
        return value

    def _expect(self, marks: str) -> str:
        mark = self._mark()
        if not mark or mark not in marks:
            raise ValueError(f"one of {marks} expected, not {mark!r}")
        return mark

    def _mark(self) -> str:
        """Return the next character that is no space, and pass over it; none at the end."""
        while True:
            self._at = _skip_space(self._text, self._at).end()  # pyright: ignore[reportOptionalMemberAccess]
            if self._at < len(self._text):
                self._at += 1
                return self._text[self._at - 1]
            if not self._more():
                return ""

    def _more(self) -> bool:
        rest = self._text[self._at :]
        chunk = self._file.read(max(_CHUNK_CHARACTERS, len(rest)))
        self._text, self._at = rest + chunk, 0
        return bool(chunk)
