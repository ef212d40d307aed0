"""A shard in memory: keys and packed columns, whichever file format they lie in."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath

import numpy as np
import pyarrow as pa

from ..errors import CacheError, FeatureNotFinite, ShardCorrupt
from .keys import KEY_BYTES
from .manifest import FieldSpec


@dataclass(frozen=True)
class Column:
    """The values of one field over a shard's rows.

    Attributes:
        values: `[steps, *shape]`; a field that is not ragged has one step a row.
        offsets: `[rows + 1] int64`, row i being `values[offsets[i]:offsets[i + 1]]`; None for a
            field that is not ragged.
    """

    values: np.ndarray
    offsets: np.ndarray | None = None


@dataclass(frozen=True)
class Shard:
    """The rows of one file: keys `[rows, 32] uint8`, and one column a field.

    `about` is what its commit says beside them, so that a lost commit can be made again.
    """

    keys: np.ndarray
    columns: Mapping[str, Column]
    about: str = ""

    def __len__(self) -> int:
        return len(self.keys)


def map_file(path: Path) -> pa.Buffer:
    """Return a file's bytes as a read-only memory map that holds no file descriptor open."""
    with pa.memory_map(str(path)) as mapped:
        return mapped.read_buffer()


def check_shard(path: PurePath, shard: Shard, fields: tuple[FieldSpec, ...], *, rows: int) -> None:
    """Check that a shard holds these fields and this number of rows."""
    if shard.keys.shape != (rows, KEY_BYTES):
        raise ShardCorrupt(f"{path}: {rows} rows were committed, {len(shard)} are there")
    names = [spec.name for spec in fields]
    if sorted(shard.columns) != sorted(names):
        raise ShardCorrupt(
            f"{path}: fields {sorted(shard.columns)} found, {sorted(names)} expected"
        )
    for spec in fields:
        _check_column(path, shard.columns[spec.name], spec, rows=rows)


def _check_column(path: PurePath, column: Column, spec: FieldSpec, *, rows: int) -> None:
    values, offsets = column.values, column.offsets
    found = (str(values.dtype), values.shape[1:], offsets is not None)
    expected = (spec.dtype, spec.shape, spec.ragged)
    if found != expected:
        raise ShardCorrupt(
            f"{path}: field {spec.name!r} has (dtype, shape, ragged) {found}, {expected} expected"
        )
    if offsets is None:
        steps_right = len(values) == rows
    else:
        steps_right = (
            len(offsets) == rows + 1
            and offsets[0] == 0
            and offsets[-1] == len(values)
            and bool((offsets[1:] >= offsets[:-1]).all())
        )
    if not steps_right:
        raise ShardCorrupt(f"{path}: field {spec.name!r} does not have {rows} well-formed rows")


def row_values(key: bytes, value: np.ndarray, spec: FieldSpec) -> np.ndarray:
    """Return a copy of one field of a row, known to be of its shape and dtype, and finite."""
    array = np.array(value, order="C")
    shape = array.shape[1:] if spec.ragged else array.shape
    if str(array.dtype) != spec.dtype or shape != spec.shape or array.ndim < spec.ragged:
        wanted = ("steps", *spec.shape) if spec.ragged else spec.shape
        raise CacheError(
            f"field {spec.name!r} of {key.hex()}: shape {wanted} and dtype {spec.dtype} expected, "
            f"got {array.shape} and {array.dtype}"
        )
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        count = int((~np.isfinite(array)).sum())
        raise FeatureNotFinite(
            f"field {spec.name!r} of {key.hex()}: {count} of {array.size} values are NaN or "
            f"infinite in {spec.dtype}"
        )
    return array


def packed_column(arrays: list[np.ndarray], spec: FieldSpec) -> Column:
    """Return one field of several rows, end to end."""
    if not spec.ragged:
        return Column(values=np.stack(arrays))
    offsets = np.zeros(len(arrays) + 1, dtype=np.int64)
    np.cumsum([len(array) for array in arrays], out=offsets[1:])
    return Column(values=np.concatenate(arrays), offsets=offsets)


def part_of(shard: Shard, start: int, end: int) -> Shard:
    """Return the rows `[start, end)` of a shard."""
    columns: dict[str, Column] = {}
    for name, column in shard.columns.items():
        if column.offsets is None:
            columns[name] = Column(_plain(column.values[start:end]))
        else:
            offsets = column.offsets[start : end + 1]
            values = _plain(column.values[offsets[0] : offsets[-1]])
            columns[name] = Column(values, offsets - offsets[0])
    return Shard(shard.keys[start:end], columns)


def _plain(values: np.ndarray) -> np.ndarray:
    """Return values in this machine's byte order, one after the other."""
    return np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("="))
