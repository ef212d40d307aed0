"""Reading feature sets: keys in, packed rows out."""

import sys
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path, PurePath
from typing import Any, Self

import numpy as np

from ..errors import CacheError, ShardCorrupt, ShardReplaced
from .backends import format_of
from .commits import Commit, Failure, read_commits, standing_failures
from .keys import KEY_BYTES, pack_keys, unpack_keys
from .layout import check_shards, feature_set_path, folders_of_sets, open_committed, with_shard
from .manifest import Manifest, read_versioned
from .objects import store_at
from .rows import Packed, Rows, Steps, comparable, index_rows, offsets_of, packed_keys
from .shard import Column, Shard
from .version1 import read_version_1
from .writer import FeatureWriter

__all__ = ["FeatureSet", "FeatureWriter", "Packed", "feature_set_path", "feature_sets"]

#: Of a process's 65,530 maps, one feature set holds so many at once.
_MOST_MAPS = 1000

_STAGED = 4  # shards of an object store that are fetched at a time


class FeatureSet:
    """The rows of one feature set, as they were when it was opened, by the names of its commits.

    A shard is checked and memory-mapped when it is first used; nothing but read-only maps is held,
    some of them at a time, so an instance may cross a fork, and a pickled one maps its shards anew.
    """

    def __init__(self, path: PurePath, manifest: Manifest, commits: Sequence[Commit]) -> None:
        self.path = path
        self.manifest = manifest
        self.commits = tuple(commits)
        self._shards = [commit for commit in self.commits if commit.file is not None]
        self._steps: dict[str, Steps] = {}
        self._maps: OrderedDict[int, Shard] = OrderedDict()
        self._replaced: set[int] = set()

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
        packed = packed_keys(keys)
        if len(self) == 0 or len(packed) == 0:
            return np.full(len(packed), -1, dtype=np.int64)
        rows, wanted = self._rows, comparable(packed)
        places = np.minimum(np.searchsorted(rows.sorted_keys, wanted), len(self) - 1)
        return np.where(rows.sorted_keys[places] == wanted, rows.numbers[places], -1)

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
        shards = self._rows.shards[rows]
        steps = self._steps_in(field, shards)
        lengths = steps.lengths[rows]
        offsets = np.zeros(len(rows) + 1, dtype=np.int64)
        np.cumsum(lengths, out=offsets[1:])
        spec = self.manifest.field(field)
        values = np.empty((int(offsets[-1]), *spec.shape), dtype=spec.dtype)
        order = np.argsort(shards, kind="stable")
        places = (shards[order], steps.starts[rows][order], lengths[order], offsets[:-1][order])
        opened, held = -1, values
        for shard, start, length, to in zip(*(place.tolist() for place in places), strict=True):
            if shard != opened:
                opened, held = shard, self._shard(shard).columns[field].values
            values[to : to + length] = held[start : start + length]
        return Packed(values=values, offsets=offsets)

    def take(self, rows: np.ndarray) -> Shard:
        """Return the rows with these numbers, all their fields, as a shard."""
        columns: dict[str, Column] = {}
        for spec in self.manifest.fields:
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
        return tuple(self._shards)

    @cached_property
    def _rows(self) -> Rows:
        return index_rows(self._shards)

    def _steps_in(self, field: str, shards: np.ndarray) -> Steps:
        """Return where a field's rows in these shards lie, the shards having been checked."""
        self.manifest.field(field)
        steps = self._steps.setdefault(field, Steps(len(self), len(self._shards)))
        unknown = np.unique(shards[~steps.known[shards]]).tolist()
        for together in self._staged_together(unknown):
            self._check(together)
            for shard in together:
                first, end = np.searchsorted(self._rows.shards, [shard, shard + 1])
                offsets = offsets_of(self._shard(shard, checked=True).columns[field])
                places = self._rows.places[first:end]
                steps.starts[first:end] = offsets[places]
                steps.lengths[first:end] = offsets[places + 1] - offsets[places]
                steps.known[shard] = True
        return steps

    def _staged_together(self, shards: Sequence[int]) -> Iterator[Sequence[int]]:
        """Yield all shards, or of an object store those that fit into its mirror together."""
        if self._mapped_bytes is None:
            yield shards
            return
        together: list[int] = []
        for shard in shards:
            held = sum(self._shards[one].size_bytes for one in (*together, shard))
            if together and (len(together) == _STAGED or held > self._mapped_bytes / 2):
                yield together
                together = []
            together.append(shard)
        yield together

    def _check(self, shards: Iterable[int]) -> None:
        """Check the bytes of shards, which may have been converted since they were committed."""
        if (
            isinstance(self.path, Path) and not self.path.is_dir()
        ):  # carried over to version 2 meanwhile
            self.path = self.path.with_name(self.fingerprint)
        folder = store_at(self.path)
        for shard in shards:
            try:
                self._shards[shard] = with_shard(folder, self._shards[shard])
            except ShardReplaced:
                self._replaced.add(shard)
        check_shards(self.path, [self._shards[n] for n in shards if n not in self._replaced])

    def _open(self, shard: int) -> Shard:
        """Return a checked shard, or its rows as another one has them since a compaction."""
        if shard not in self._replaced:
            return open_committed(self.path, self._shards[shard], self.manifest.fields)
        now = FeatureSet.open(self.path)
        rows = now.find(pack_keys(self._shards[shard].keys))
        if len(rows) and rows.min() < 0:
            raise ShardCorrupt(
                f"{self.path / str(self._shards[shard].file)}: gone since this set was opened; "
                "open it again"
            )
        return now.take(rows)

    def _shard(self, shard: int, *, checked: bool = False) -> Shard:
        """Return an open shard, one of the last that were used."""
        if shard not in self._maps:
            try:
                if not checked:
                    self._check([shard])
                opened = self._open(shard)
            except ShardCorrupt:  # for good, unless it was converted in this instant
                self._check([shard])
                opened = self._open(shard)
            self._maps[shard] = opened
            while len(self._maps) > 1 and self._is_full():
                self._maps.popitem(last=False)
        self._maps.move_to_end(shard)
        return self._maps[shard]

    def _is_full(self) -> bool:
        """Return whether one map more is open than there may be; a mirror's files are not many."""
        if self._mapped_bytes is None:
            return len(self._maps) > _MOST_MAPS
        held = sum(self._shards[shard].size_bytes for shard in self._maps)
        return len(self._maps) > _MOST_MAPS or held > self._mapped_bytes

    @cached_property
    def _mapped_bytes(self) -> int | None:
        return store_at(self.path).mapped_bytes


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
