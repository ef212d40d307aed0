"""Where the rows of a feature set lie, by number and by key."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .commits import Commit
from .keys import KEY_BYTES, pack_keys


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
