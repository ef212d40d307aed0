"""Where the rows of a feature set lie, by number and by key."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import CacheError
from .commits import Commit
from .keys import KEY_BYTES, pack_keys
from .shard import Column, Shard


@dataclass(frozen=True)
class Packed:
    """One field of several rows, end to end.

    Attributes:
        values: `[steps, *shape]`.
        offsets: `[rows + 1] int64`; row i is `values[offsets[i]:offsets[i + 1]]`.
    """

    values: np.ndarray
    offsets: np.ndarray

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> np.ndarray:
        return self.values[self.offsets[row] : self.offsets[row + 1]]


@dataclass(frozen=True)
class Rows:
    """Where each row lies, and which row each key has; of several rows of a key the first counts.

    Attributes:
        keys: `[rows, 32] uint8`.
        shards: `[rows] int64`, never falling.
        places: Within the shard, `[rows] int64`.
        sorted_keys: `[rows]`, comparable.
        numbers: The row of each sorted key, `[rows] int64`.
    """

    keys: np.ndarray
    shards: np.ndarray
    places: np.ndarray
    sorted_keys: np.ndarray
    numbers: np.ndarray


class Steps:
    """Where each row's steps of one field lie in its shard's values, once that shard was opened."""

    def __init__(self, rows: int, shards: int) -> None:
        self.starts = np.zeros(rows, dtype=np.int64)
        self.lengths = np.zeros(rows, dtype=np.int64)
        self.known = np.zeros(shards, dtype=bool)


def index_rows(commits: Sequence[Commit]) -> Rows:
    """Return where the rows of shards lie, in the order of their commits."""
    counts = [commit.rows for commit in commits]
    packed = pack_keys(b"".join(commit.keys for commit in commits))
    sorted_keys, first = np.unique(comparable(packed), return_index=True)
    counted = np.sort(first)
    ends = np.cumsum(counts, dtype=np.int64)
    shards = np.searchsorted(ends, counted, side="right")
    return Rows(
        keys=packed[counted],
        shards=shards,
        places=counted - (ends - counts)[shards] if len(counted) else counted,
        sorted_keys=sorted_keys,
        numbers=np.searchsorted(counted, first),
    )


def comparable(packed: np.ndarray) -> np.ndarray:
    """Return keys `[n, 32] uint8` as `[n]` strings that sort and compare as the bytes do.

    numpy ignores trailing zero bytes here, which cannot make two keys of equal length alike.
    """
    return np.ascontiguousarray(packed).view(f"S{KEY_BYTES}").reshape(-1)


def packed_keys(keys: Sequence[bytes] | np.ndarray) -> np.ndarray:
    """Return keys as an array `[n, 32] uint8`."""
    if not isinstance(keys, np.ndarray):
        return pack_keys(keys)
    if keys.ndim != 2 or keys.shape[1] != KEY_BYTES or keys.dtype != np.uint8:
        raise CacheError(f"keys are [n, {KEY_BYTES}] uint8; got {keys.shape} {keys.dtype}")
    return keys


def offsets_of(column: Column) -> np.ndarray:
    """Return where each row of a column begins and the last one ends: `[rows + 1] int64`."""
    return np.arange(len(column.values) + 1) if column.offsets is None else column.offsets


def differing_row(one: Shard, other: Shard) -> int | None:
    """Return the first row in which two shards of equally many rows are not the same bytes."""
    found: list[int] = []
    for name, column in one.columns.items():
        theirs = other.columns[name]
        offsets = offsets_of(column)
        lengths = np.flatnonzero(np.diff(offsets) != np.diff(offsets_of(theirs)))
        if len(lengths):
            found.append(int(lengths[0]))
            continue
        left, right = (_bytes_of(values) for values in (column.values, theirs.values))
        steps = np.flatnonzero((left != right).any(axis=1))
        if len(steps):
            found.append(int(np.searchsorted(offsets, steps[0], side="right")) - 1)
    return min(found, default=None)


def _bytes_of(values: np.ndarray) -> np.ndarray:
    """Return the bytes of each step, `[steps, bytes] uint8`."""
    flat = np.ascontiguousarray(values).reshape(len(values), math.prod(values.shape[1:]))
    return flat.view(np.uint8)
