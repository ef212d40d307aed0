"""Reading feature sets: keys in, packed rows out."""

import sys
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np

from ..errors import CacheError, ShardCorrupt
from .backends import format_of
from .commits import Commit, Failure, read_commits, standing_failures
from .keys import KEY_BYTES, pack_keys, unpack_keys
from .layout import FEATURES_NAME, check_shards, feature_set_path, open_committed, with_shard
from .manifest import MANIFEST_NAME, Manifest, read_versioned
from .objects import Folder
from .rows import Rows, Steps, comparable, index_rows
from .shard import Column, Shard
from .version1 import read_version_1
from .writer import FeatureWriter

__all__ = ["FeatureSet", "FeatureWriter", "Packed", "feature_set_path", "feature_sets"]

#: Of a process's 65,530 maps, one feature set holds so many at once.
_MOST_MAPS = 1000


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


class FeatureSet:
    """The rows of one feature set, as they were when it was opened, by the names of its commits.

    A shard is checked and memory-mapped when it is first used; nothing but read-only maps is held,
    some of them at a time, so an instance may cross a fork, and a pickled one maps its shards anew.
    """

    def __init__(self, path: Path, manifest: Manifest, commits: Sequence[Commit]) -> None:
        self.path = path
        self.manifest = manifest
        self.commits = tuple(commits)
        self._shards = [commit for commit in self.commits if commit.file is not None]
        self._steps: dict[str, Steps] = {}
        self._maps: OrderedDict[int, Shard] = OrderedDict()

    @classmethod
    def open(cls, path: Path) -> Self:
        """Return the feature set in a folder."""
        folder = Folder(path)
        manifest, version = read_versioned(folder.root)
        held = read_commits(folder) if version > 1 else read_version_1(folder, manifest)
        commits = [with_shard(folder, commit) for commit in held]
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
        packed = _packed(keys)
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
        if unknown:
            self._check(unknown)
        for shard in unknown:
            first, end = np.searchsorted(self._rows.shards, [shard, shard + 1])
            offsets = _offsets(self._shard(shard, checked=True).columns[field])
            places = self._rows.places[first:end]
            steps.starts[first:end] = offsets[places]
            steps.lengths[first:end] = offsets[places + 1] - offsets[places]
            steps.known[shard] = True
        return steps

    def _check(self, shards: Iterable[int]) -> None:
        """Check the bytes of shards, which may have been converted since they were committed."""
        if not self.path.is_dir():  # carried over to version 2 meanwhile
            self.path = self.path.with_name(self.fingerprint)
        folder = Folder(self.path)
        for shard in shards:
            self._shards[shard] = with_shard(folder, self._shards[shard])
        check_shards(self.path, [self._shards[shard] for shard in shards])

    def _shard(self, shard: int, *, checked: bool = False) -> Shard:
        """Return an open shard, one of the last that were used."""
        if shard not in self._maps:
            fields = self.manifest.fields
            try:
                if not checked:
                    self._check([shard])
                opened = open_committed(self.path, self._shards[shard], fields)
            except ShardCorrupt:  # for good, unless it was converted in this instant
                self._check([shard])
                opened = open_committed(self.path, self._shards[shard], fields)
            self._maps[shard] = opened
            if len(self._maps) > _MOST_MAPS:
                self._maps.popitem(last=False)
        self._maps.move_to_end(shard)
        return self._maps[shard]


def _packed(keys: Sequence[bytes] | np.ndarray) -> np.ndarray:
    if not isinstance(keys, np.ndarray):
        return pack_keys(keys)
    if keys.ndim != 2 or keys.shape[1] != KEY_BYTES or keys.dtype != np.uint8:
        raise CacheError(f"keys are [n, {KEY_BYTES}] uint8; got {keys.shape} {keys.dtype}")
    return keys


def _offsets(column: Column) -> np.ndarray:
    return np.arange(len(column.values) + 1) if column.offsets is None else column.offsets


def feature_sets(
    cache_root: Path,
    modality: str | None = None,
    *,
    damaged: dict[Path, CacheError] | None = None,
) -> list[FeatureSet]:
    """Return the feature sets of a cache, or of one modality, by modality and fingerprint.

    A set that cannot be opened blocks no other: it is put into `damaged` with the reason, or
    spoken of on stderr, once a process.
    """
    opened: list[FeatureSet] = []
    manifests = (Path(cache_root) / FEATURES_NAME).glob(f"{modality or '*'}/*/{MANIFEST_NAME}")
    for path in sorted(manifests):
        try:
            opened.append(FeatureSet.open(path.parent))
        except CacheError as error:
            if damaged is not None:
                damaged[path.parent] = error
            elif path.parent not in _spoken_of:
                _spoken_of.add(path.parent)
                print(f"a damaged feature set is left out: {error}", file=sys.stderr)
    return opened


_spoken_of: set[Path] = set()
