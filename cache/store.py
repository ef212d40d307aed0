"""Reading feature sets: keys in, packed rows out."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np

from ..errors import CacheError, ShardCorrupt
from .backends import format_of
from .commits import (
    FAILURES_NAME,
    Commit,
    Failure,
    committed_failures,
    read_commits,
    read_failure_lines,
)
from .keys import KEY_BYTES, pack_keys, unpack_keys
from .layout import FEATURES_NAME, check_size, feature_set_path, open_committed
from .manifest import MANIFEST_NAME, Manifest, read_manifest
from .shard import Column, Shard
from .writer import FeatureWriter

__all__ = ["FeatureSet", "FeatureWriter", "Packed", "feature_set_path", "feature_sets"]


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
class _FieldIndex:
    """Where each row's steps lie in its shard's values: from where, how many."""

    values: list[np.ndarray]
    starts: np.ndarray
    lengths: np.ndarray


class FeatureSet:
    """The rows of one feature set, as they were when it was opened.

    Shards are memory-mapped on first use; nothing but read-only maps is held, so an instance may
    cross a fork, and a pickled one maps its shards anew.
    """

    def __init__(self, path: Path, manifest: Manifest, commits: Sequence[Commit]) -> None:
        self.path = path
        self.manifest = manifest
        self.commits = tuple(commits)
        self._fields: dict[str, _FieldIndex] = {}

    @classmethod
    def open(cls, path: Path) -> Self:
        """Return the feature set in a folder."""
        path = Path(path)
        opened = cls(path, read_manifest(path), read_commits(path))
        for commit in opened.shard_commits:
            check_size(path, commit)
        return opened

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "manifest": self.manifest, "commits": self.commits}

    def __setstate__(self, state: dict[str, Any]) -> None:
        FeatureSet.__init__(self, **state)

    def __repr__(self) -> str:
        return f"FeatureSet({str(self.path)!r}, rows={len(self)})"

    @property
    def fingerprint(self) -> str:
        """The hash of what made the set."""
        return self.manifest.fingerprint

    @property
    def modality(self) -> str:
        """The kind of media: a name in `MODALITIES`."""
        return self.manifest.modality

    @property
    def encoder(self) -> str:
        """The encoder's id, after `pixels:` or `samples:` where media are decoded for it."""
        name = str(self.manifest.identity.get("id", "unknown"))
        return f"{self.manifest.fields[0].name}:{name}" if self.manifest.decoded else name

    @property
    def formats(self) -> tuple[str, ...]:
        """The file formats of its shards."""
        return tuple(sorted({format_of(str(commit.file)) for commit in self.shard_commits}))

    @property
    def size_bytes(self) -> int:
        """The size of all shards on disk."""
        return sum(commit.size_bytes for commit in self.commits)

    @cached_property
    def failures(self) -> list[Failure]:
        """The media that could not be encoded."""
        return read_failure_lines(self.path / FAILURES_NAME, committed_failures(self.commits))

    @cached_property
    def keys(self) -> list[bytes]:
        """The keys of all rows, in the order they were written."""
        return unpack_keys(self._packed_keys)

    def __len__(self) -> int:
        return sum(commit.rows for commit in self.commits)

    def __contains__(self, key: object) -> bool:
        return isinstance(key, bytes) and len(key) == KEY_BYTES and self.find([key])[0] >= 0

    def find(self, keys: Sequence[bytes] | np.ndarray) -> np.ndarray:
        """Return the row number of each key, -1 where there is none: `[n] int64`.

        Keys are 32 bytes each, or an array `[n, 32] uint8`.
        """
        packed = _packed(keys)
        if len(self) == 0 or len(packed) == 0:
            return np.full(len(packed), -1, dtype=np.int64)
        order, sorted_keys = self._index
        wanted = _comparable(packed)
        places = np.minimum(np.searchsorted(sorted_keys, wanted), len(order) - 1)
        return np.where(sorted_keys[places] == wanted, order[places], -1)

    def read(self, keys: Sequence[bytes] | np.ndarray, field: str) -> Packed:
        """Return one field of the rows with these keys, in their order; a key may come twice."""
        rows = self.find(keys)
        if len(rows) and rows.min() < 0:
            key = bytes(keys[int(np.argmin(rows))])
            raise CacheError(
                f"{self.path}: no row with key {key.hex()}; "
                f"run: pfcli extract --modality {self.modality}"
            )
        return self.read_rows(rows, field)

    def read_rows(self, rows: np.ndarray, field: str) -> Packed:
        """Return one field of the rows with these numbers (see `find`), in their order.

        Raises:
            CacheError: If the field is not there.
            IndexError: If a number is negative, such as `find` gives for no row, or too large.
        """
        if len(rows) and not 0 <= rows.min() <= rows.max() < len(self):
            raise IndexError(f"rows {rows.min()} to {rows.max()} of {len(self)}")
        index = self._field_index(field)
        lengths = index.lengths[rows]
        offsets = np.zeros(len(rows) + 1, dtype=np.int64)
        np.cumsum(lengths, out=offsets[1:])
        spec = self.manifest.field(field)
        values = np.empty((int(offsets[-1]), *spec.shape), dtype=spec.dtype)
        shards = np.searchsorted(self._shard_ends, rows, side="right")
        places = zip(
            shards.tolist(),
            index.starts[rows].tolist(),
            lengths.tolist(),
            offsets.tolist(),
            strict=False,
        )
        for shard, start, length, to in places:
            values[to : to + length] = index.values[shard][start : start + length]
        return Packed(values=values, offsets=offsets)

    def count_steps(self, field: str) -> int:
        """Return how many steps of a field all rows have together."""
        return int(self._field_index(field).lengths.sum())

    @cached_property
    def shard_commits(self) -> tuple[Commit, ...]:
        """The commits that name a shard."""
        return tuple(commit for commit in self.commits if commit.file is not None)

    @cached_property
    def _shards(self) -> list[Shard]:
        fields = self.manifest.fields
        return [open_committed(self.path, commit, fields) for commit in self.shard_commits]

    @cached_property
    def _shard_ends(self) -> np.ndarray:
        return np.cumsum([commit.rows for commit in self.shard_commits], dtype=np.int64)

    @cached_property
    def _packed_keys(self) -> np.ndarray:
        parts = [shard.keys for shard in self._shards]
        return np.concatenate(parts) if parts else np.empty((0, KEY_BYTES), dtype=np.uint8)

    @cached_property
    def _index(self) -> tuple[np.ndarray, np.ndarray]:
        comparable = _comparable(self._packed_keys)
        order = np.argsort(comparable, kind="stable").astype(np.int64)
        sorted_keys = comparable[order]
        twice = np.flatnonzero(sorted_keys[1:] == sorted_keys[:-1])
        if len(twice):
            key = self.keys[order[twice[0]]]
            raise ShardCorrupt(
                f"{self.path}: key {key.hex()} has two rows; delete and extract again"
            )
        return order, sorted_keys

    def _field_index(self, name: str) -> _FieldIndex:
        if name not in self._fields:
            self.manifest.field(name)
            self._fields[name] = _index_field([shard.columns[name] for shard in self._shards])
        return self._fields[name]


def _packed(keys: Sequence[bytes] | np.ndarray) -> np.ndarray:
    if not isinstance(keys, np.ndarray):
        return pack_keys(keys)
    if keys.ndim != 2 or keys.shape[1] != KEY_BYTES or keys.dtype != np.uint8:
        raise CacheError(f"keys are [n, {KEY_BYTES}] uint8; got {keys.shape} {keys.dtype}")
    return keys


def _comparable(packed: np.ndarray) -> np.ndarray:
    """Return keys `[n, 32] uint8` as `[n]` strings that sort and compare as the bytes do.

    numpy ignores trailing zero bytes here, which cannot make two keys of equal length alike.
    """
    return np.ascontiguousarray(packed).view(f"S{KEY_BYTES}").reshape(-1)


def _index_field(columns: list[Column]) -> _FieldIndex:
    offsets = [
        np.arange(len(column.values) + 1) if column.offsets is None else column.offsets
        for column in columns
    ]
    empty = np.empty(0, dtype=np.int64)
    return _FieldIndex(
        values=[column.values for column in columns],
        starts=np.concatenate([empty, *(shard[:-1] for shard in offsets)]),
        lengths=np.concatenate([empty, *(np.diff(shard) for shard in offsets)]),
    )


def feature_sets(cache_root: Path, modality: str | None = None) -> list[FeatureSet]:
    """Return the feature sets of a cache, or of one modality, by modality and fingerprint."""
    manifests = (Path(cache_root) / FEATURES_NAME).glob(f"{modality or '*'}/*/{MANIFEST_NAME}")
    return [FeatureSet.open(path.parent) for path in sorted(manifests)]
