"""Reading feature sets: keys in, packed rows out."""

import sys
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import PurePath
from typing import Any, Self

import numpy as np

from ..errors import CacheError, ShardCorrupt, ShardReplaced
from .backends import format_of
from .commits import Commit, Failure, read_commits, standing_failures
from .keys import KEY_BYTES, pack_keys, unpack_keys
from .layout import feature_set_path, folders_of_sets, with_shard
from .manifest import Manifest, read_versioned
from .maps import ShardMaps
from .objects import store_at
from .rows import Packed, Rows, Steps, by_shard, index_rows, offsets_of, packed_keys
from .shard import Column, Shard
from .version1 import read_version_1
from .writer import FeatureWriter

__all__ = ["FeatureSet", "FeatureWriter", "Packed", "feature_set_path", "feature_sets"]


_PAGE_BYTES = 4096


class FeatureSet:
    """The rows of one feature set, as they were when it was opened, by the names of its commits.

    A shard is checked and memory-mapped when it is first used; nothing but read-only maps is held,
    some of them at a time, so an instance may cross a fork, and a pickled one maps its shards anew.
    """

    def __init__(self, path: PurePath, manifest: Manifest, commits: Sequence[Commit]) -> None:
        self.manifest = manifest
        self.commits = tuple(commits)
        shards = [commit for commit in self.commits if commit.file is not None]
        self._maps = ShardMaps(path, manifest, shards, _rows_by_now)
        self._steps: dict[str, Steps] = {}

    @classmethod
    def open(cls, path: PurePath) -> Self:
        """Return the feature set in a folder."""
        folder = store_at(path)
        manifest, version = read_versioned(folder.root)
        held = read_commits(folder) if version > 1 else read_version_1(folder, manifest)
        sizes = folder.list()
        try:
            commits = [
                commit
                if sizes.get(str(commit.file), 0) == commit.size_bytes
                else with_shard(folder, commit)
                for commit in held
            ]
        except ShardReplaced:  # compacted in this instant
            return cls.open(path)
        return cls(folder.root, manifest, commits)

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "manifest": self.manifest, "commits": self.commits}

    def __setstate__(self, state: dict[str, Any]) -> None:
        FeatureSet.__init__(self, **state)

    def __repr__(self) -> str:
        return f"FeatureSet({str(self.path)!r}, rows={len(self)})"

    @property
    def path(self) -> PurePath:
        """The set's folder."""
        return self._maps.path

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
        return list(standing_failures(self.commits).values())

    @cached_property
    def keys(self) -> list[bytes]:
        """The keys of all rows, in the rows' order."""
        return unpack_keys(self._rows.keys)

    def __len__(self) -> int:
        return len(self._rows.keys)

    def __contains__(self, key: object) -> bool:
        return isinstance(key, bytes) and len(key) == KEY_BYTES and self.find([key])[0] >= 0

    def find(self, keys: Sequence[bytes] | np.ndarray) -> np.ndarray:
        """Return the row number of each key, -1 where there is none: `[n] int64`.

        Keys are 32 bytes each, or an array `[n, 32] uint8`.
        """
        return self._rows.find(packed_keys(keys))

    def read(self, keys: Sequence[bytes] | np.ndarray, field: str) -> Packed:
        """Return one field of the rows with these keys, in their order; a key may come twice."""
        return self.read_rows(self.rows_of(keys), field)

    def rows_of(self, keys: Sequence[bytes] | np.ndarray) -> np.ndarray:
        """Return the row number of each key, `[n] int64`; a key without a row is an error."""
        rows = self.find(keys)
        if len(rows) and rows.min() < 0:
            key = bytes(keys[int(np.argmin(rows))])
            raise CacheError(
                f"{self.path}: no row with key {key.hex()}; "
                f"run: pfcli extract --modality {self.modality}"
            )
        return rows

    def read_rows(self, rows: np.ndarray, field: str) -> Packed:
        """Return one field of the rows with these numbers (see `find`), in their order.

        Raises:
            CacheError: If the field is not there.
            IndexError: If a number is negative, such as `find` gives for no row, or too large.
        """
        spec = self.manifest.field(field)
        offsets = np.zeros(len(rows) + 1, dtype=np.int64)
        np.cumsum(self.lengths(rows, field), out=offsets[1:])
        values = np.empty((int(offsets[-1]), *spec.shape), dtype=spec.dtype)
        if spec.ragged:
            starts = offsets.tolist()
            for at, steps in self.views(rows, field):
                values[starts[at] : starts[at + 1]] = steps
        else:
            places = self._rows.places[rows]
            for shard, at in by_shard(self._rows.shards[rows]):
                values[at] = self._maps.shard(shard).columns[field].values.take(places[at], axis=0)
        return Packed(values=values, offsets=offsets)

    def lengths(self, rows: np.ndarray, field: str) -> np.ndarray:
        """Return how many steps of a field the rows with these numbers have, `[n] int64`.

        Their shards have been checked then; it raises what `read_rows` raises.
        """
        if len(rows) and not 0 <= rows.min() <= rows.max() < len(self):
            raise IndexError(f"rows {rows.min()} to {rows.max()} of {len(self)}")
        return self._steps_in(field, self._rows.shards[rows]).lengths[rows]

    def views(self, rows: np.ndarray, field: str) -> Iterator[tuple[int, np.ndarray]]:
        """Yield each row's place in `rows` and its steps `[steps, *shape]` as they are mapped.

        Nothing is copied. The rows of one shard come one after the other.
        """
        shards = self._rows.shards[rows]
        steps = self._steps_in(field, shards)
        order = np.argsort(shards, kind="stable")
        sorted_rows = rows[order]
        parts = (order, shards[order], steps.starts[sorted_rows], steps.lengths[sorted_rows])
        opened, values = -1, np.empty(0)
        for at, shard, start, length in zip(*(part.tolist() for part in parts), strict=True):
            if shard != opened:
                opened, values = shard, self._maps.shard(shard).columns[field].values
            yield at, values[start : start + length]

    def prefetch(self, rows: np.ndarray, field: str) -> None:
        """Bring the pages of rows into memory, which leaves other threads their turn."""
        rows = np.unique(rows)
        shards = self._rows.shards[rows]
        steps = self._steps_in(field, shards)
        for shard, at in by_shard(shards):
            values = self._maps.shard(shard).columns[field].values
            content = values.reshape(-1).view(np.uint8)
            first = steps.starts[rows[at], None] * values[:1].nbytes
            last = first + steps.lengths[rows[at], None] * values[:1].nbytes - 1
            pages = np.arange(0, int((last - first).max()) + _PAGE_BYTES, _PAGE_BYTES)
            content.take(np.minimum(first + pages, last)[last[:, 0] >= first[:, 0]])

    def take(self, rows: np.ndarray, fields: Sequence[str] | None = None) -> Shard:
        """Return the rows with these numbers as a shard of some fields, by default of all."""
        columns: dict[str, Column] = {}
        for name in self.manifest.names if fields is None else fields:
            spec = self.manifest.field(name)
            packed = self.read_rows(rows, spec.name)
            columns[spec.name] = Column(packed.values, packed.offsets if spec.ragged else None)
        return Shard(self._rows.keys[rows], columns)

    def rows_in(self, shard: int) -> np.ndarray:
        """Return the numbers of the rows that a shard (of `shard_commits`) gives this set."""
        first, end = np.searchsorted(self._rows.shards, [shard, shard + 1])
        return np.arange(first, end)

    def count_steps(self, field: str) -> int:
        """Return how many steps of a field all rows have together."""
        return int(self._steps_in(field, self._rows.shards).lengths.sum())

    @property
    def shard_commits(self) -> tuple[Commit, ...]:
        """The commits that name a shard."""
        return tuple(self._maps.commits)

    @cached_property
    def _rows(self) -> Rows:
        return index_rows(self._maps.commits)

    def _steps_in(self, field: str, shards: np.ndarray) -> Steps:
        """Return where a field's rows in these shards lie, the shards having been checked."""
        ragged = self.manifest.field(field).ragged
        if field not in self._steps:
            self._steps[field] = Steps(self._rows, len(self._maps.commits), ragged=ragged)
        steps = self._steps[field]
        known = steps.known[shards]
        unknown = [] if known.all() else np.unique(shards[~known]).tolist()
        for shard, opened in self._maps.checked(unknown):
            if ragged:
                first, end = np.searchsorted(self._rows.shards, [shard, shard + 1])
                offsets, places = offsets_of(opened.columns[field]), self._rows.places[first:end]
                steps.starts[first:end] = offsets[places]
                steps.lengths[first:end] = offsets[places + 1] - offsets[places]
            steps.known[shard] = True
        return steps


def _rows_by_now(path: PurePath, commit: Commit) -> Shard:
    """Return the rows of a commit's shard, which is gone, from the shards that are there by now."""
    now = FeatureSet.open(path)
    rows = now.find(pack_keys(commit.keys))
    if len(rows) and rows.min() < 0:
        raise ShardCorrupt(
            f"{path / str(commit.file)}: gone since this set was opened; open it again"
        )
    return now.take(rows)


def feature_sets(
    cache_root: PurePath,
    modality: str | None = None,
    *,
    damaged: dict[PurePath, CacheError] | None = None,
) -> list[FeatureSet]:
    """Return the feature sets of a cache, or of one modality, by modality and fingerprint.

    A set that cannot be opened blocks no other: it is put into `damaged` with the reason, or
    spoken of on stderr, once a process.
    """
    opened: list[FeatureSet] = []
    for path in folders_of_sets(cache_root, modality):
        try:
            opened.append(FeatureSet.open(path))
        except CacheError as error:
            if damaged is not None:
                damaged[path] = error
            elif path not in _spoken_of:
                _spoken_of.add(path)
                print(f"a damaged feature set is left out: {error}", file=sys.stderr)
    return opened


_spoken_of: set[PurePath] = set()
