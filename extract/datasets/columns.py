"""A recipe's records as Arrow columns, where JSON lists hold them plainly and in one order.

What is otherwise is `Irregular`: the records are then read one by one, which says what is wrong.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from string import Formatter
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow.compute import binary_join_element_wise, utf8_lpad  # pyright: ignore[reportAttributeAccessIssue]

from ...cache.example_batches import BATCH_ROWS, path_column
from ...cache.modalities import MODALITIES
from .annotations import Irregular, stream_batches, stream_records
from .spool import batch_saying

_TEXT = pa.large_string()
_KINDS = {int: pa.int64(), str: _TEXT}
_NAME = re.compile(r"\w+")
_EACH = re.compile(r"(\w+)\[\]\.(\w+)")
_PADDED = re.compile(r"0(\d+)d")


@dataclass(frozen=True)
class Listed:
    """A JSON file's list of objects, and the fields of them that are read."""

    path: Path
    at: str
    key: str | None = None
    same: tuple[str, ...] = ()
    fields: dict[str, pa.DataType] = field(default_factory=dict)

    def first(self) -> Mapping[str, Any]:
        """Return the first object."""
        if self.path.suffix.lower() != ".json":
            raise Irregular
        name, value = next(stream_records(self.path, self.at), (None, None))
        if name is not None or not isinstance(value, dict):
            raise Irregular
        return value

    def rows(self) -> Iterator[pa.RecordBatch]:
        """Yield the objects' fields as columns, `BATCH_ROWS` at a time, at last fewer."""
        return _in_rows(stream_batches(self.path, self.at, pa.struct(self.fields)))


def columnar_batches(
    said: Mapping[str, str], records: Listed, joined: Listed | None, words: Mapping[str, Any]
) -> Iterator[pa.RecordBatch]:
    """Yield examples as a spool holds them.

    Args:
        said: What a recipe says of each column of an example: its path or template.
        records: Where they are, by which key.
        joined: Their annotations, in the same order.
        words: For templates.
    """
    sides = [records, *([joined] if joined else [])]
    firsts = [side.first() for side in sides]
    makers = {name: _maker(text, sides, firsts, words) for name, text in said.items()}
    for side, first in zip(sides, firsts, strict=True):
        for name in (side.key, *side.same):
            _note(name or "", [side], [first])
    every: list[pa.Array] = []
    theirs = joined.rows() if joined else iter(())
    for rows in records.rows():
        columns = {name: rows[name] for name in rows.schema.names}
        if joined:
            columns = _beside(rows, next(theirs, None), records, joined) | columns
        made = {_column(name): make(columns) for name, make in makers.items()}
        every.append(made["id"])
        if "answer" in made and "answers" not in made:
            ones = np.arange(rows.num_rows + 1, dtype=np.int64)
            made["answers"] = pa.LargeListArray.from_arrays(ones, made["answer"])
        yield batch_saying(rows.num_rows, made)
    ids = pa.chunked_array(every, _TEXT)
    if not len(ids) or len(ids.unique()) < len(ids) or next(theirs, None) is not None:
        raise Irregular


Maker = Callable[[Mapping[str, pa.Array]], pa.Array]


def _column(name: str) -> str:
    return path_column(name) if name in MODALITIES else name


def _maker(
    text: str, sides: list[Listed], firsts: list[Mapping[str, Any]], words: Mapping[str, Any]
) -> Maker:
    """Return what makes an example's column of the records', after noting which it needs."""
    said = text.removesuffix("?")
    if "{" in said:
        return _template(said, sides, firsts, words)
    if (each := _EACH.fullmatch(said)) is not None:
        outer, inner = each.groups()
        side = next((s for s, first in zip(sides, firsts, strict=True) if outer in first), None)
        if side is None:
            raise Irregular
        side.fields[outer] = pa.list_(pa.struct({inner: _TEXT}))
        return lambda columns: _texts(columns[outer])
    _note(said, sides, firsts)
    return lambda columns: columns[said].cast(_TEXT)


def _note(name: str, sides: list[Listed], firsts: list[Mapping[str, Any]]) -> pa.DataType:
    """Return a field's type, as the first object that has it shows it; it is to be read."""
    for side, first in zip(sides, firsts, strict=True):
        if name in first and _NAME.fullmatch(name) and type(first[name]) in _KINDS:
            side.fields[name] = _KINDS[type(first[name])]
            return side.fields[name]
    raise Irregular


def _template(
    said: str, sides: list[Listed], firsts: list[Mapping[str, Any]], words: Mapping[str, Any]
) -> Maker:
    parts: list[tuple[str, str, int]] = []
    for literal, name, spec, _ in Formatter().parse(said):
        if name is not None and name in words:
            parts.append((literal + format(words[name], spec or ""), "", 0))
        elif name:
            padded = _PADDED.fullmatch(spec or "")
            kind = _note(name, sides, firsts)
            if (padded is None) != (not spec) or bool(padded) != pa.types.is_integer(kind):
                raise Irregular
            parts.append((literal, name, int(padded[1]) if padded else 0))
        else:
            parts.append((literal, "", 0))

    def make(columns: Mapping[str, pa.Array]) -> pa.Array:
        pieces: list[Any] = []
        for literal, name, width in parts:
            pieces.append(pa.scalar(literal, _TEXT))
            if name:
                pieces.append(_padded(columns[name], width))
        return binary_join_element_wise(*pieces, pa.scalar("", _TEXT))

    return make


def _padded(column: pa.Array, width: int) -> pa.Array:
    if not width:
        if (column.to_numpy(zero_copy_only=False) == "").any():  # nothing to name a file by
            raise Irregular
        return column
    if (column.to_numpy() < 0).any():  # its sign stands before the zeros
        raise Irregular
    return utf8_lpad(column.cast(_TEXT), width, "0")


def _texts(lists: pa.Array) -> pa.Array:
    """Return one field of the objects in lists, as lists of texts."""
    (texts,) = lists.flatten().flatten()
    offsets = lists.offsets.to_numpy().astype(np.int64)
    if texts.null_count or not np.diff(offsets).all():
        raise Irregular
    return pa.LargeListArray.from_arrays(offsets - offsets[0], texts)


def _beside(
    rows: pa.RecordBatch, theirs: pa.RecordBatch | None, records: Listed, joined: Listed
) -> dict[str, pa.Array]:
    """Return what is said of the same things, which must come in the same order."""
    if theirs is None or theirs.num_rows != rows.num_rows:
        raise Irregular
    pairs = [(records.key, joined.key), *((name, name) for name in joined.same)]
    if not all(rows[own].equals(theirs[other]) for own, other in pairs):
        raise Irregular
    return {name: theirs[name] for name in theirs.schema.names}


def _in_rows(objects: Iterable[pa.StructArray]) -> Iterator[pa.RecordBatch]:
    """Yield objects as columns of `BATCH_ROWS` rows, the last of fewer."""
    held, count = [], 0
    for part in objects:
        held.append(part)
        count += len(part)
        if count >= BATCH_ROWS:
            joined = pa.concat_arrays(held)
            whole = count - count % BATCH_ROWS
            for start in range(0, whole, BATCH_ROWS):
                yield pa.RecordBatch.from_struct_array(joined[start : start + BATCH_ROWS])
            held, count = [joined[whole:]], count - whole
    if count:
        yield pa.RecordBatch.from_struct_array(pa.concat_arrays(held))
