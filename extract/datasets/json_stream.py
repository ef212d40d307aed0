"""A large JSON text parsed as it is read, the values of one of its lists or objects one by one.

Where they are objects, Arrow parses many at a time.
"""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, TextIO, TypeVar

import pyarrow as pa
import pyarrow.json as arrow_json

from ...cache.atomic import unique_names

T = TypeVar("T")

_CHUNK_CHARACTERS = 2**20
_LONGEST_PARTING = 200
_LONGEST_OBJECT = 2**26
_SPACE = " \t\n\r"
_skip_space = re.compile(f"[{_SPACE}]*").match
_parting = re.compile(rf'([{_SPACE}]*,[{_SPACE}]*)\{{[{_SPACE}]*"[A-Za-z_][^"\\]*"').match


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
        """Yield what the list or object under some names, each in the last one's, holds.

        The values of a list come with None, those of an object with their names.

        Raises:
            ValueError: If the text holds no such list or object, or a name stands twice in one.
        """
        return self._whole(self._under(names, self._records))

    def batches_at(self, names: Sequence[str], fields: pa.StructType) -> Iterator[pa.StructArray]:
        """Yield the same values of a list many at a time, objects with some of these fields.

        Raises:
            ValueError: As above (but for names that are none of `fields`), or if a value is no
                object, a field of another type, or a text no Unicode.
        """
        return self._whole(self._under(names, partial(self._batches, fields)))

    def _whole(self, values: Iterator[T]) -> Iterator[T]:
        yield from values
        if self._peek():
            raise ValueError("text after the end")

    def _under(self, names: Sequence[str], values: Callable[[], Iterator[T]]) -> Iterator[T]:
        """Yield what `values` reads at the place under some names."""
        if not names:
            yield from values()
            return
        wanted, *deeper = names
        found = False
        for name in self._names():
            if name == wanted:
                found = True
                yield from self._under(deeper, values)
            else:
                self._value()
        if not found:
            raise ValueError(f"no {wanted!r}")

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

    def _records(self) -> Iterator[tuple[str | None, Any]]:
        if self._peek() == "[":
            yield from ((None, value) for value in self._items())
            return
        for name in self._names():
            yield name, self._value()

    def _items(self) -> Iterator[Any]:
        self._expect("[")
        mark = "," if self._peek() != "]" else self._expect("]")
        while mark == ",":
            yield self._value()
            mark = self._expect(",]")

    def _batches(self, fields: pa.StructType) -> Iterator[pa.StructArray]:
        for value in self._items():
            yield _parsed(json.dumps(value), fields)
            if len(self._text) - self._at < _LONGEST_PARTING:
                self._more()
            for text in self._objects():
                yield _parsed(text, fields)

    def _objects(self) -> Iterator[str]:
        """Yield the texts of objects that follow one, cut where they part as these two do.

        A quote after a brace or a space is none of a text, and with a letter after it begins one:
        so an object ends at each parting. Where it is an inner one, brackets are left open.
        """
        found = _parting(self._text, self._at)
        if found is None:
            return
        parting, skipped = "}" + found[0], len(found[1])
        while len(self._text) - self._at < _LONGEST_OBJECT:
            cut = self._text.rfind(parting, self._at + skipped)
            if cut >= 0:
                yield self._text[self._at + skipped : cut + 1]
                self._at = cut + 1
            elif not self._more():
                return
        raise ValueError(f"no {parting!r} in {_LONGEST_OBJECT} characters")

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


def _parsed(objects: str, fields: pa.StructType) -> pa.StructArray:
    """Return the objects of a list's text, which must be whole."""
    data = f'{{"":[{objects},null]}}'.encode()
    read = arrow_json.ReadOptions(use_threads=False, block_size=len(data) + 1)
    parse = arrow_json.ParseOptions(
        explicit_schema=pa.schema([("", pa.list_(fields))]),
        newlines_in_values=True,
        unexpected_field_behavior="ignore",  # to infer their types is no bound on their depth
    )
    table = arrow_json.read_json(pa.BufferReader(data), read_options=read, parse_options=parse)
    values = table.column(0).combine_chunks().values
    if table.num_rows != 1 or values.null_count != 1 or values[-1].is_valid:
        raise ValueError("the list ends within, or a value of it is no object")
    return values[:-1]
