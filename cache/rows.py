"""Where the rows of a feature set lie, by number and by key."""

import math
from collections.abc import Iterator, Sequence
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
        beginnings: The first eight bytes of each key, sorted, `[rows] uint64`.
        numbers: The row of each of these, `[rows] int64`.
        alike: Whether two keys begin alike.
    """

    keys: np.ndarray
    shards: np.ndarray
    places: np.ndarray
    beginnings: np.ndarray
    numbers: np.ndarray
    alike: bool

    def find(self, wanted: np.ndarray) -> np.ndarray:
        """Return the row of each key `[n, 32] uint8`, -1 where there is none: `[n] int64`."""
        if len(self.keys) == 0 or len(wanted) == 0:
            return np.full(len(wanted), -1, dtype=np.int64)
        held, whole = _comparable(self.keys), _comparable(wanted)
        if self.alike:
            at = np.searchsorted(held[self.numbers], whole)
        else:
            sought = _beginnings(wanted)
            order = np.argsort(sought)  # near each other, they are found several times as fast
            at = np.empty(len(wanted), dtype=np.int64)
            at[order] = np.searchsorted(self.beginnings, sought[order])
        rows = self.numbers[np.minimum(at, len(held) - 1)]
        return np.where(held[rows] == whole, rows, -1)


class Steps:
    """Where each row's steps of one field lie in its shard's values, once that shard was opened.

    Those of a field that is not ragged are known: one a row, at the row's place.
    """

    def __init__(self, rows: Rows, shards: int, *, ragged: bool) -> None:
        count = len(rows.places)
        self.starts = np.zeros(count, dtype=np.int64) if ragged else rows.places
        self.lengths = np.zeros(count, np.int64) if ragged else np.broadcast_to(np.int64(1), count)
        self.known = np.zeros(shards, dtype=bool)


def index_rows(commits: Sequence[Commit]) -> Rows:
    """Return where the rows of shards lie, in the order of their commits."""
    counts = [commit.rows for commit in commits]
    keys = pack_keys(b"".join(commit.keys for commit in commits))
    numbers = np.argsort(_beginnings(keys), kind="stable")
    beginnings = _beginnings(keys)[numbers]
    counted = np.arange(len(keys))
    if alike := bool((beginnings[1:] == beginnings[:-1]).any()):  # or a key has two rows
        _, first = np.unique(_comparable(keys), return_index=True)
        counted = np.sort(first)
        keys, numbers = keys[counted], np.searchsorted(counted, first)
        beginnings = _beginnings(keys)[numbers]
        alike = bool((beginnings[1:] == beginnings[:-1]).any())
    ends = np.cumsum(counts, dtype=np.int64)
    shards = np.searchsorted(ends, counted, side="right")
    places = counted - (ends - counts)[shards] if len(counted) else counted
    return Rows(keys, shards, places, beginnings, numbers, alike)


def _beginnings(keys: np.ndarray) -> np.ndarray:
    """Return the first eight bytes of keys `[n, 32]`, `[n] uint64` that sort as the bytes do."""
    return np.ascontiguousarray(keys[:, :8]).view(">u8").reshape(-1).astype(np.uint64)


def _comparable(packed: np.ndarray) -> np.ndarray:
    """Return keys `[n, 32] uint8` as `[n]` strings that sort and compare as the bytes do.

    numpy ignores trailing zero bytes here, which cannot make two keys of equal length alike.
    """
    return np.ascontiguousarray(packed).view(f"S{KEY_BYTES}").reshape(-1)


def distinct_keys(keys: np.ndarray) -> np.ndarray:
    """Return the keys, `[n, 32] uint8`, sorted, each once; the blank row's is left out."""
    given = keys[keys.any(axis=1)]
    repeated = (given[1:] == given[:-1]).all(axis=1)  # a medium's examples often stand together
    once = given[np.append(True, ~repeated)[: len(given)]]
    return np.unique(_comparable(once)).view(np.uint8).reshape(-1, KEY_BYTES)


def by_shard(shards: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Yield each shard that is named, with the places that name it."""
    order = np.argsort(shards, kind="stable")
    first = 0
    for end in (*(np.flatnonzero(np.diff(shards[order])) + 1).tolist(), len(order)):
        if end > first:
            yield int(shards[order[first]]), order[first:end]
        first = end


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
