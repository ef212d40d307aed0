"""Writing a feature set: rows are gathered, and each commit makes them one shard for good."""

import time
from collections.abc import Iterable, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import replace
from pathlib import PurePath
from typing import Self

import numpy as np

from ..errors import CacheError, ShardReplaced
from .backends import Format, backend_of
from .claims import Claims
from .commits import Commit, Failure, find_commit, read_commits, slice_name
from .fingerprint import explain_difference
from .keys import pack_keys
from .layout import feature_set_path, lost_shards, place_shard, tidy, with_shard
from .manifest import MANIFEST_NAME, Manifest, read_manifest
from .objects import store_at
from .places import place_of
from .sealed import seal
from .shard import Column, Shard, packed_column, row_values
from .version1 import migrate_all

_WAITS_PER_LOOK = 20  # listing all commits takes no more than a twentieth of a writer's time


class FeatureWriter:
    """Add rows and failures to one feature set, beside any number of other writers.

    A context manager without a lock: media are claimed, so that two writers seldom encode the same
    ones, and where they do, the first commit counts. On exit it commits what is left, or, after an
    exception, forgets it.

    Args:
        cache_root: The cache's folder; the set lies in `features/<modality>/<fingerprint>` there.
        manifest: What makes this set; it is written if the set is new.
        format: Of new shards; those already there may have another.

    Attributes:
        done: The keys that have a committed row or failure, without those forgotten.
        failures: Those committed, by key, of media without a row.
        pending_bytes: Of the rows appended since the last commit.
        other_versions: The packages' versions that made committed rows, where they are not the
            manifest's, a line each difference.
    """

    def __init__(
        self,
        cache_root: PurePath,
        manifest: Manifest,
        *,
        format: Format = "arrow",  # noqa: A002  (the word users type)
    ) -> None:
        self.path = feature_set_path(place_of(cache_root), manifest.modality, manifest.fingerprint)
        self.manifest = manifest
        self.pending_bytes = 0
        self.other_versions: list[str] = []
        self._folder = store_at(self.path)
        self._backend = backend_of(format)
        self._names: set[str] = set()
        self._with_row: set[bytes] = set()
        self._failed: dict[bytes, tuple[int, Failure]] = {}
        self._forgotten: dict[bytes, int] = {}
        self._done: set[bytes] = set()
        self._claims = Claims(self._folder)
        self._rows: dict[bytes, dict[str, np.ndarray]] = {}
        self._failures: dict[bytes, Failure] = {}
        self._broken = False
        self._next_look = 0.0

    def __enter__(self) -> Self:
        migrate_all(self.path, self.manifest)
        self._keep_manifest()
        self.catch_up()
        self._refuse_lost_commits()
        tidy(self._folder, self._names)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None and not self._broken:
                self.commit()
        finally:
            self._forget()
            if not self._broken:  # else a claim marks the shard that may lie uncommitted
                self._claims.free()

    @property
    def done(self) -> Set[bytes]:
        """The keys that have a committed row or failure, without those forgotten."""
        return self._done

    @property
    def failures(self) -> Mapping[bytes, Failure]:
        """The committed failures of media without a row."""
        return {key: failure for key, (_, failure) in self._failed.items()}

    def forget(self, keys: Iterable[bytes]) -> None:
        """Let failed media be tried again: they are not done until a later attempt is."""
        for key in keys:
            if key in self._failed:
                self._forgotten[key] = self._failed[key][0]
                self._done.discard(key)

    def claim(self, keys: Sequence[bytes], *, insist: bool = False) -> list[bytes] | None:
        """Return which media of a slice are still to do, having said that this writer does them.

        What others committed meanwhile is not to do, as far as it was seen: under the same name it
        always is. None is returned while another writer that may live has the slice in hand, unless
        this one is to `insist`.
        """
        if self._done.issuperset(keys):
            return []
        name = slice_name(keys)
        if not self._claims.take(name) and not insist:
            return None
        self._look(name)
        todo = [key for key in keys if key not in self._done]
        self._claims.hold(name, todo)
        return todo

    def append(self, key: bytes, values: Mapping[str, np.ndarray]) -> None:
        """Add a row, which counts once `commit` has returned.

        Args:
            key: The medium's 32 bytes.
            values: One array a field, `shape` or, for a ragged field, `[steps, *shape]`.

        Raises:
            FeatureNotFinite: If a value is NaN or infinite.
            CacheError: If a field is missing, unknown or of another dtype or shape, or the key is
                there already.
        """
        self._check_new(key)
        expected = self.manifest.names
        if set(values) != set(expected):
            raise CacheError(f"a row has fields {sorted(expected)}; got {sorted(values)}")
        row = {spec.name: row_values(key, values[spec.name], spec) for spec in self.manifest.fields}
        self._rows[key] = row
        self.pending_bytes += sum(array.nbytes for array in row.values())

    def fail(self, failure: Failure) -> None:
        """Record a medium that could not be encoded, from the next commit on."""
        if failure.key is None:
            raise CacheError(f"{failure.path}: a failure in a feature set has a key")
        self._check_new(failure.key)
        self._failures[failure.key] = failure

    def commit(self) -> None:
        """Make all rows since the last commit one shard, and failures final.

        The order is what makes it safe at any instant: a claim, the shard under a temporary name,
        its renaming, and last the one object that makes it count.
        """
        if self._broken:
            raise CacheError(f"{self.path}: an earlier commit failed; open the set again")
        if not self._rows and not self._failures:
            return
        shard = Shard(pack_keys(list(self._rows)), self._columns()) if self._rows else None
        self._broken = True
        self._put(self._gathered(), shard)
        self._forget()
        self._broken = False

    def add(self, commit: Commit, shard: Shard | None) -> None:
        """Commit media that were encoded elsewhere; a failure counts where there is none.

        Args:
            commit: Their keys, none of which has a row here, and failures.
            shard: The rows; None where there are none.
        """
        tried = [self._failed[key][0] + 1 for key in commit.all_keys if key in self._failed]
        bare = replace(commit, file=None, size_bytes=0, sha256=None)
        self._put(replace(bare, attempt=max(commit.attempt, *tried, 1)), shard)

    def _put(self, commit: Commit, shard: Shard | None) -> None:
        def place() -> Commit:
            self._claims.hold(commit.name, commit.all_keys)
            if shard is None:
                return commit
            fields = self.manifest.fields
            return place_shard(self._folder, commit, shard, fields, backend=self._backend)

        def others_did() -> bool:
            self._names.add(commit.name)
            self.catch_up()
            return self._done.issuperset(commit.all_keys)

        standing = self._claims.settle(commit, place, others_did)
        if standing is None:
            self.catch_up()
        else:
            self._absorb(standing)
        self._claims.finish(commit.all_keys)

    def _gathered(self) -> Commit:
        keys = [*self._rows, *self._failures]
        attempts = [self._failed[key][0] for key in keys if key in self._failed]
        return Commit(
            keys=b"".join(self._rows),
            failures=tuple(self._failures.values()),
            attempt=max(attempts, default=0) + 1,
            versions=self._versions,
        )

    def _columns(self) -> dict[str, Column]:
        return {
            spec.name: packed_column([row[spec.name] for row in self._rows.values()], spec)
            for spec in self.manifest.fields
        }

    @property
    def _versions(self) -> Mapping[str, str]:
        return self.manifest.provenance.get("versions", {})

    def _forget(self) -> None:
        self._rows, self._failures, self.pending_bytes = {}, {}, 0

    def _keep_manifest(self) -> None:
        """Write the manifest of a new set; of an old one, see that it is this one."""
        if self._folder.size(MANIFEST_NAME) is None:
            self._folder.put_if_absent(MANIFEST_NAME, seal(self.manifest.to_json()))
        held, wanted = read_manifest(self.path), self.manifest
        if held.fingerprint != wanted.fingerprint:
            lines = explain_difference(wanted.fingerprinted, held.fingerprinted)
            raise CacheError(f"{self.path} was made otherwise: {'; '.join(lines)}")

    def _look(self, name: str) -> None:
        """Take note of one commit, and of all others unless that was costly a short while ago."""
        if time.monotonic() >= self._next_look:
            self.catch_up()
        elif name not in self._names and (commit := find_commit(self._folder, name)):
            self._absorb(commit)

    def catch_up(self) -> None:
        """Take note of what was committed since the last look."""
        began = time.monotonic()
        for commit in read_commits(self._folder, but=self._names):
            with suppress(ShardReplaced):  # compacted in this instant: the rows are there
                commit = with_shard(self._folder, commit)
            self._absorb(commit)
        ended = time.monotonic()
        self._next_look = ended + (ended - began) * _WAITS_PER_LOOK

    def _absorb(self, commit: Commit) -> None:
        self._names.add(commit.name)
        for key in commit.row_keys:
            self._failed.pop(key, None)
            self._with_row.add(key)
            self._done.add(key)
        for failure in commit.failures:
            key = failure.key
            if key is None or key in self._with_row:
                continue
            if commit.attempt > self._failed.get(key, (0,))[0]:
                self._failed[key] = (commit.attempt, failure)
            if commit.attempt > self._forgotten.get(key, 0):
                self._done.add(key)
        if commit.versions and commit.versions != self._versions:
            lines = explain_difference(dict(self._versions), dict(commit.versions))
            self.other_versions = list(dict.fromkeys([*self.other_versions, *lines]))

    def _refuse_lost_commits(self) -> None:
        """Raise an error if shards lie here that no commit names and no writer left there."""
        lost = lost_shards(self._folder, self._names)
        if lost:  # unless another writer has committed them since
            self.catch_up()
            lost = lost_shards(self._folder, self._names)
        if lost:
            raise CacheError(
                f"{self.path}: {len(lost)} shards, such as {lost[0]}, have lost their commits; "
                "make these again from the shards: pfcli verify --repair"
            )

    def _check_new(self, key: bytes) -> None:
        pack_keys([key])  # a key of another length must not wait until the commit
        twice = key in self._rows or key in self._failures
        if twice or (key in self._done and key not in self._claims):
            raise CacheError(f"{self.path}: key {key.hex()} is there already; see writer.done")
