"""Shards as Arrow files: one uncompressed record batch, read as a memory map."""

import json
import math
from pathlib import Path

import numpy as np
import pyarrow as pa

from ..errors import ShardCorrupt
from .atomic import shorten
from .keys import KEY_BYTES
from .shard import Column, Shard, map_file

_KEYS = "key"
_SHAPE = b"shape"
_ABOUT = b"about"


def write_shard(path: Path, shard: Shard) -> None:
    """Write a shard; the same bytes for the same rows."""
    arrays: list[pa.Array] = [_key_array(shard.keys)]
    fields = [pa.field(_KEYS, arrays[0].type, nullable=False)]
    for name, column in shard.columns.items():
        arrays.append(_column_array(column))
        shape = json.dumps(column.values.shape[1:])
        fields.append(pa.field(name, arrays[-1].type, nullable=False, metadata={_SHAPE: shape}))
    schema = pa.schema(fields, metadata={_ABOUT: shard.about} if shard.about else None)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        writer.write_batch(pa.record_batch(arrays, schema=schema))


def open_shard(path: Path) -> Shard:
    """Return a shard whose arrays are views of the memory-mapped file."""
    try:
        reader = pa.ipc.open_file(pa.BufferReader(map_file(path)))
        about = (reader.schema.metadata or {}).get(_ABOUT, b"").decode()
        _check_types(reader.schema)
        batch = reader.get_batch(0)
        batch.validate(full=True)
        keys = _fixed_values(batch.column(0), np.dtype(np.uint8), (KEY_BYTES,))
        columns = {
            field.name: _column(batch.column(index), json.loads((field.metadata or {})[_SHAPE]))
            for index, field in enumerate(batch.schema)
            if index > 0
        }
    except (pa.ArrowException, OSError, KeyError, IndexError, TypeError, ValueError) as error:
        raise ShardCorrupt(f"{path}: not an Arrow shard: {error}") from error
    return Shard(keys=keys, columns=columns, about=about)


def _check_types(schema: pa.Schema) -> None:
    """Refuse a schema other than `write_shard` gives, before any of its data are looked at."""
    if not schema.names or schema.field(0).type != pa.binary(KEY_BYTES):
        raise TypeError(f"keys of {KEY_BYTES} bytes expected first, found {shorten(str(schema))}")
    for field in list(schema)[1:]:
        steps = field.type.value_type if pa.types.is_large_list(field.type) else field.type
        if not pa.types.is_fixed_size_list(steps) or not pa.types.is_primitive(steps.value_type):
            raise TypeError(f"field {field.name!r} of type {field.type}")
        shape = json.loads((field.metadata or {})[_SHAPE])
        if not all(type(extent) is int and extent > 0 for extent in shape):
            raise ValueError(f"field {field.name!r} of shape {shape}")
        if math.prod(shape) != steps.list_size:
            raise ValueError(f"field {field.name!r}: {steps.list_size} values of shape {shape}")


def _key_array(keys: np.ndarray) -> pa.Array:
    content = pa.py_buffer(np.ascontiguousarray(keys, dtype=np.uint8).tobytes())
    return pa.Array.from_buffers(pa.binary(KEY_BYTES), len(keys), [None, content])


def _column_array(column: Column) -> pa.Array:
    steps = _step_array(column.values)
    if column.offsets is None:
        return steps
    offsets = pa.py_buffer(np.ascontiguousarray(column.offsets, dtype=np.int64))
    kind = pa.large_list(pa.field("step", steps.type, nullable=False))
    return pa.Array.from_buffers(kind, len(column.offsets) - 1, [None, offsets], children=[steps])


def _step_array(values: np.ndarray) -> pa.Array:
    flat = np.ascontiguousarray(values).reshape(-1)
    kind = pa.from_numpy_dtype(values.dtype)
    numbers = pa.Array.from_buffers(kind, len(flat), [None, pa.py_buffer(flat)])
    width = math.prod(values.shape[1:])
    steps = pa.list_(pa.field("value", kind, nullable=False), width)
    return pa.Array.from_buffers(steps, len(values), [None], children=[numbers])


def _column(array: pa.Array, shape: list[int]) -> Column:
    if not pa.types.is_large_list(array.type):
        return Column(values=_steps(array, shape))
    offsets = np.frombuffer(array.buffers()[1], dtype=np.int64, count=len(array) + 1)
    return Column(values=_steps(array.values, shape), offsets=offsets)


def _steps(array: pa.Array, shape: list[int]) -> np.ndarray:
    dtype = np.dtype(array.type.value_type.to_pandas_dtype())
    return _fixed_values(array, dtype, tuple(shape))


def _fixed_values(array: pa.Array, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
    count = len(array) * math.prod(shape)
    if count == 0:
        return np.empty((len(array), *shape), dtype=dtype)
    return np.frombuffer(array.buffers()[-1], dtype=dtype, count=count).reshape(-1, *shape)
