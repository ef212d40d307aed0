"""A large JSON text parsed as it is read, the values of one of its lists or objects one by one."""

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, TextIO

from ...cache.atomic import unique_names

_CHUNK_CHARACTERS = 2**20
_SPACE = " \t\n\r"
_skip_space = re.compile(f"[{_SPACE}]*").match


class StrictDecoder(json.JSONDecoder):
    """A JSON decoder that refuses an object in which a name stands twice, at little cost.

    Where a text has as many colons as its objects have names, no name was dropped.
    """

    def __init__(self) -> None:
        super().__init__(object_hook=self._count)
        self._names = 0

    def _count(self, content: dict[str, Any]) -> dict[str, Any]:
        self._names += len(content)
        return content

    def raw_decode(self, s: str, idx: int = 0) -> tuple[Any, int]:
        """Return the value that begins at a place of a text, and where it ends."""
        self._names = 0
        value, end = super().raw_decode(s, idx)
        if s.count(":", idx, end) != self._names:
            json.loads(s[idx:end], object_pairs_hook=unique_names)
        return value, end


class JsonStream:
    """A JSON text of which no more is held than a chunk and the value that is parsed."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._text, self._at = "", 0
        self._decoder = StrictDecoder()

    def records_at(self, names: Sequence[str]) -> Iterator[tuple[str | None, Any]]:
        """Yield what the object or list under some names, each in the last one's, holds.

        The values of a list come with None, those of an object with their names.

        Raises:
            ValueError: If the text holds no such object or list, or a name stands twice in one.
        """
        if not names:
            yield from self._items() if self._peek() == "[" else self._entries()
            return
        wanted, *deeper = names
        found = False
        for name in self._names():
            if name == wanted:
                yield from self.records_at(deeper)
                found = True
            else:
                self._value()
        if not found:
            raise ValueError(f"no {wanted!r}")

    def end(self) -> None:
        """Return if nothing follows."""
        if self._peek():
            raise ValueError("text after the end")

    def _names(self) -> Iterator[str]:
        """Yield an object's names; whoever asks reads each one's value before the next."""
        seen: set[str] = set()
        self._expect("{")
        mark = "," if self._peek() != "}" else self._expect("}")
        while mark == ",":
            name = self._value()
            if not isinstance(name, str) or name in seen:
                raise ValueError(f"{name!r} is no name, or stands twice")
            seen.add(name)
            self._expect(":")
            yield name
            mark = self._expect(",}")

    def _entries(self) -> Iterator[tuple[str, Any]]:
        for name in self._names():
            yield name, self._value()

    def _items(self) -> Iterator[tuple[None, Any]]:
        self._expect("[")
        mark = "," if self._peek() != "]" else self._expect("]")
        while mark == ",":
            yield None, self._value()
            mark = self._expect(",]")

    def _value(self) -> Any:
        """Return the value that comes next."""
        self._peek()
        while True:
            try:
                value, end = self._decoder.raw_decode(self._text, self._at)
                whole = end < len(self._text)  # or else a number may go on
            except json.JSONDecodeError:
                if not self._more():
                    raise
                continue
            if whole or not self._more():
                break
        self._at = end
        return value

    def _expect(self, marks: str) -> str:
        """Return the next character that is no space, one of these, and pass over it."""
        mark = self._peek()
        if not mark or mark not in marks:
            raise ValueError(f"one of {marks} expected, not {mark!r}")
        self._at += 1
        return mark

    def _peek(self) -> str:
        """Return the next character that is no space; none at the end."""
        while True:
            if self._at == len(self._text):
                if not self._more():
                    return ""
            elif (mark := self._text[self._at]) not in _SPACE:
                return mark
            else:
                self._at = _skip_space(self._text, self._at).end()  # pyright: ignore[reportOptionalMemberAccess]

    def _more(self) -> bool:
        """Return whether there was more to read, in which case the place is the text's start."""
        chunk = self._file.read(max(_CHUNK_CHARACTERS, len(self._text) - self._at))
        if chunk:
            self._text, self._at = self._text[self._at :] + chunk, 0
        return bool(chunk)
