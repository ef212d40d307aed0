"""The shards of one feature set as maps: each is checked and opened when it is first used."""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path, PurePath

from ..errors import ShardCorrupt, ShardReplaced
from .commits import Commit
from .layout import check_shards, open_committed, with_shard
from .manifest import Manifest
from .objects import store_at
from .shard import Shard

#: Of a process's 65,530 maps, one feature set holds so many at once.
_MOST_MAPS = 1000

_STAGED = 4  # shards of an object store that are fetched at a time


class ShardMaps:
    """Shards that are mapped read-only, those of last use; several threads may read at a time.

    Attributes:
        path: The feature set's folder.
        commits: Of the shards, as they are by now.
        reread: Returns the rows of a commit that others took the place of, as in a compaction.
    """

    def __init__(
        self,
        path: PurePath,
        manifest: Manifest,
        commits: Iterable[Commit],
        reread: Callable[[PurePath, Commit], Shard],
    ) -> None:
        self.path = path
        self.commits = list(commits)
        self._manifest = manifest
        self._reread = reread
        self._maps: OrderedDict[int, Shard] = OrderedDict()
        self._replaced: set[int] = set()

    def checked(self, shards: Sequence[int]) -> Iterator[tuple[int, Shard]]:
        """Yield shards by number, each after its bytes were compared with what was committed."""
        for together in self._staged_together(shards):
            self._check(together)
            for shard in together:
                yield shard, self._opened(shard, checked=True)

    def shard(self, shard: int) -> Shard:
        """Return a shard by its number."""
        return self._opened(shard, checked=False)

    def _staged_together(self, shards: Sequence[int]) -> Iterator[Sequence[int]]:
        """Yield all shards, or of an object store those that fit into its mirror together."""
        if self._mapped_bytes is None:
            yield shards
            return
        together: list[int] = []
        for shard in shards:
            held = sum(self.commits[one].size_bytes for one in (*together, shard))
            if together and (len(together) == _STAGED or held > self._mapped_bytes / 2):
                yield together
                together = []
            together.append(shard)
        yield together

    def _check(self, shards: Iterable[int]) -> None:
        """Check the bytes of shards, which may have been converted since they were committed."""
        if isinstance(self.path, Path) and not self.path.is_dir():  # carried over to version 2
            self.path = self.path.with_name(self._manifest.fingerprint)
        folder = store_at(self.path)
        for shard in shards:
            try:
                self.commits[shard] = with_shard(folder, self.commits[shard])
            except ShardReplaced:
                self._replaced.add(shard)
        check_shards(self.path, [self.commits[n] for n in shards if n not in self._replaced])

    def _open(self, shard: int) -> Shard:
        """Return a checked shard, or its rows as another one has them since a compaction."""
        if shard in self._replaced:
            return self._reread(self.path, self.commits[shard])
        return open_committed(self.path, self.commits[shard], self._manifest.fields)

    def _opened(self, shard: int, *, checked: bool) -> Shard:
        """Return an open shard, which counts as the last one used."""
        opened = self._maps.pop(shard, None)
        if opened is None:
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
        return opened

    def _is_full(self) -> bool:
        """Return whether one map more is open than there may be; a mirror's files are not many."""
        if self._mapped_bytes is None:
            return len(self._maps) > _MOST_MAPS
        held = sum(self.commits[shard].size_bytes for shard in tuple(self._maps))
        return len(self._maps) > _MOST_MAPS or held > self._mapped_bytes

    @cached_property
    def _mapped_bytes(self) -> int | None:
        return store_at(self.path).mapped_bytes
