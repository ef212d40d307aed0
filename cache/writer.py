"""Writing a feature set: rows are gathered, and each commit makes them one shard for good."""

from collections.abc import Mapping, Set
from contextlib import ExitStack
from pathlib import Path
from typing import Self

import numpy as np

from ..errors import CacheError, FeatureNotFinite
from .atomic import exclusive, make_folder
from .backends import Format, backend_of
from .commits import (
    FAILURES_NAME,
    Commit,
    Failure,
    append_commit,
    append_failures,
    committed_failures,
    drop_failures,
    drop_uncommitted,
    only_failures,
    read_failure_lines,
)
from .fingerprint import explain_difference
from .keys import pack_keys, unpack_keys
from .layout import feature_set_path, next_shard_stem, open_committed, place_shard, remove_leftovers
from .manifest import MANIFEST_NAME, FieldSpec, Manifest, read_manifest, write_manifest
from .shard import Column, Shard


class FeatureWriter:
    """Add rows and failures to one feature set; a context manager that owns the set's lock.

    On entry it goes back to the last commit: half-written shards and lines are removed. On exit
    it commits what is left, or, after an exception, forgets it.

    Args:
        cache_root: The cache's folder; the set lies in `features/<modality>/<fingerprint>` there.
        manifest: What makes this set; it is written if the set is new.
        format: Of new shards; those already there may have another.
        retry_failures: Forget the recorded failures, so that those media are tried again.
    """

    def __init__(
        self,
        cache_root: Path,
        manifest: Manifest,
        *,
        format: Format = "arrow",  # noqa: A002  (the word users type)
        retry_failures: bool = False,
    ) -> None:
        self.path = feature_set_path(cache_root, manifest.modality, manifest.fingerprint)
        self.manifest = manifest
        self._backend = backend_of(format)
        self._retry_failures = retry_failures
        self._resources = ExitStack()
        self._commits: list[Commit] = []
        self._done: set[bytes] = set()
        self._broken = False
        self._rows: dict[bytes, dict[str, np.ndarray]] = {}
        self._failures: list[Failure] = []
        self._pending: set[bytes] = set()

    def __enter__(self) -> Self:
        make_folder(self.path)
        with ExitStack() as resources:
            resources.enter_context(exclusive(self.path, doing="extraction"))
            self._recover()
            self._resources = resources.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, *problem: object) -> None:
        with self._resources:
            if kind is None and not self._broken:
                self.commit()
            self._forget()

    @property
    def done(self) -> Set[bytes]:
        """The keys that are committed, as rows or as failures."""
        return self._done

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
        self._rows[key] = {
            spec.name: _checked(key, values[spec.name], spec) for spec in self.manifest.fields
        }
        self._pending.add(key)

    def fail(self, failure: Failure) -> None:
        """Record a medium that could not be encoded, from the next commit on."""
        if failure.key is not None:
            self._check_new(failure.key)
            self._pending.add(failure.key)
        self._failures.append(failure)

    def commit(self) -> None:
        """Make all rows since the last commit one shard, and failures final.

        The order is what makes it safe at any instant: failure lines (not yet vouched for), the
        shard under a temporary name, its renaming, and last the one line that makes them count.
        """
        if self._broken:
            raise CacheError(f"{self.path}: an earlier commit failed; open the set again")
        if not self._rows and not self._failures:
            return
        self._broken = True
        self._commits.append(self._write())
        self._done |= self._pending
        self._forget()
        self._broken = False

    def _write(self) -> Commit:
        failures = committed_failures(self._commits) + len(self._failures)
        if self._failures:
            append_failures(self.path, self._failures)
        commit = self._place(failures) if self._rows else only_failures(failures)
        append_commit(self.path, commit)
        return commit

    def _forget(self) -> None:
        self._rows, self._failures, self._pending = {}, [], set()

    def _recover(self) -> None:
        if (self.path / MANIFEST_NAME).exists():
            held, wanted = read_manifest(self.path), self.manifest
            if held.fingerprint != wanted.fingerprint:
                lines = explain_difference(wanted.fingerprinted, held.fingerprinted)
                raise CacheError(f"{self.path} was made otherwise: {'; '.join(lines)}")
        else:
            write_manifest(self.path, self.manifest)
        self._commits = drop_uncommitted(self.path)
        if self._retry_failures:
            self._commits = drop_failures(self.path, self._commits)
        remove_leftovers(self.path, self._commits)
        self._done = self._committed_keys()

    def _committed_keys(self) -> set[bytes]:
        count = committed_failures(self._commits)
        failures = read_failure_lines(self.path / FAILURES_NAME, count)
        keys = {failure.key for failure in failures if failure.key is not None}
        for commit in self._commits:
            if commit.file is not None:
                shard = open_committed(self.path, commit, self.manifest.fields)
                keys.update(unpack_keys(shard.keys))
        return keys

    def _check_new(self, key: bytes) -> None:
        pack_keys([key])  # a key of another length must not wait until the commit
        if key in self._done or key in self._pending:
            raise CacheError(f"{self.path}: key {key.hex()} is there already; see writer.done")

    def _place(self, failures: int) -> Commit:
        path = self.path / (next_shard_stem(self._commits) + self._backend.extension)
        fields = self.manifest.fields
        shard = Shard(
            keys=pack_keys(list(self._rows)),
            columns={
                spec.name: _column([row[spec.name] for row in self._rows.values()], spec)
                for spec in fields
            },
        )
        return place_shard(path, shard, fields, backend=self._backend, failures=failures)


def _checked(key: bytes, value: np.ndarray, spec: FieldSpec) -> np.ndarray:
    array = np.array(value, order="C")
    shape = array.shape[1:] if spec.ragged else array.shape
    if str(array.dtype) != spec.dtype or shape != spec.shape or array.ndim < spec.ragged:
        wanted = ("steps", *spec.shape) if spec.ragged else spec.shape
        raise CacheError(
            f"field {spec.name!r} of {key.hex()}: shape {wanted} and dtype {spec.dtype} expected, "
            f"got {array.shape} and {array.dtype}"
        )
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        count = int((~np.isfinite(array)).sum())
        raise FeatureNotFinite(
            f"field {spec.name!r} of {key.hex()}: {count} of {array.size} values are NaN or "
            f"infinite in {spec.dtype}"
        )
    return array


def _column(arrays: list[np.ndarray], spec: FieldSpec) -> Column:
    if not spec.ragged:
        return Column(values=np.stack(arrays))
    offsets = np.zeros(len(arrays) + 1, dtype=np.int64)
    np.cumsum([len(array) for array in arrays], out=offsets[1:])
    return Column(values=np.concatenate(arrays), offsets=offsets)
