"""Shards as HDF5 files: contiguous datasets, read as a memory map at their offsets."""

import math
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa

from ..errors import ShardCorrupt
from .keys import KEY_BYTES
from .shard import Column, Shard, map_file

_KEYS = "keys"
_VALUES = "values"
_OFFSETS = "offsets"
_ABOUT = "_about"  # no field has such a name
_ALIGNMENT_BYTES = 64


def write_shard(path: Path, shard: Shard) -> None:
    """Write a shard; the same bytes for the same rows.

    It is made in memory: HDF5 itself cannot be told in peace that a disk is full.
    """
    with h5py.File(
        path,
        "w",
        driver="core",
        backing_store=False,
        libver=("v110", "v110"),
        track_order=True,
        alignment_threshold=_ALIGNMENT_BYTES,
        alignment_interval=_ALIGNMENT_BYTES,
    ) as file:
        file.create_dataset(_KEYS, data=np.ascontiguousarray(shard.keys, dtype=np.uint8))
        if shard.about:
            file.create_dataset(_ABOUT, data=np.frombuffer(shard.about.encode(), np.uint8))
        for name, column in shard.columns.items():
            group = file.create_group(name)
            group.create_dataset(_VALUES, data=np.ascontiguousarray(column.values))
            if column.offsets is not None:
                group.create_dataset(_OFFSETS, data=column.offsets.astype(np.int64))
        file.flush()
        path.write_bytes(file.id.get_file_image())


def open_shard(path: Path) -> Shard:
    """Return a shard whose arrays are views of the memory-mapped file.

    The HDF5 file is closed before this returns: only the map stays, so a fork is harmless.
    """
    try:
        content = map_file(path)
        with h5py.File(path, "r", locking=False) as file:
            keys = _view(content, file, _KEYS)
            about = _view(content, file, _ABOUT).tobytes().decode() if _ABOUT in file else ""
            names = [str(name) for name in file if name not in (_KEYS, _ABOUT)]
            columns = {name: _column(content, file, name) for name in names}
    except (OSError, KeyError, ValueError, TypeError, RuntimeError, pa.ArrowException) as error:
        raise ShardCorrupt(f"{path}: not an HDF5 shard: {error}") from error
    if keys.ndim != 2 or keys.shape[1] != KEY_BYTES:
        raise ShardCorrupt(f"{path}: keys have shape {keys.shape}, (rows, {KEY_BYTES}) expected")
    return Shard(keys=keys, columns=columns, about=about)


def _column(content: pa.Buffer, file: h5py.File, name: str) -> Column:
    offsets = f"{name}/{_OFFSETS}"
    return Column(
        values=_view(content, file, f"{name}/{_VALUES}"),
        offsets=_view(content, file, offsets) if offsets in file else None,
    )


def _view(content: pa.Buffer, file: h5py.File, name: str) -> np.ndarray:
    dataset = file[name]
    if not isinstance(dataset, h5py.Dataset):
        raise TypeError(f"{name} is not a dataset")
    if 0 in dataset.shape:
        return np.empty(dataset.shape, dtype=dataset.dtype)
    start = dataset.id.get_offset()
    if start is None:
        raise ValueError(f"dataset {name} is not contiguous")
    count = math.prod(dataset.shape)
    flat = np.frombuffer(content, dtype=dataset.dtype, count=count, offset=start)
    return flat.reshape(dataset.shape)
