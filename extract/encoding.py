"""One modality's way from decoded media to committed shards."""

import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

import numpy as np
from tqdm import tqdm

from ..cache.commits import Failure
from ..cache.keys import BLANK_KEY
from ..cache.modalities import MODALITIES
from ..cache.store import FeatureWriter
from ..errors import EncoderError, FeatureNotFinite, MediumChanged, MediumError, PromptFuseError
from ..stopping import NEVER, Stop
from .batches import Batch, encode_batch, encode_blank
from .datasets.ingest import MediumRef
from .encoders.base import Encoder, Row
from .media import Limits
from .slices import Slices, cut
from .stages import Stages

#: Rows of so many bytes are committed before their slice is done.
PART_BYTES = 64 * 2**20

_BATCH_BYTES = 64 * 2**20  # of prepared media, on average over the batches that run


@dataclass(frozen=True)
class EncodingSummary:
    """What happened to the media of one modality.

    Attributes:
        path: The feature set's folder.
        planned: Media that were asked for.
        done_before: Those of them that an earlier run had finished, failures included.
        encoded: Rows written by this run for them.
        failed: Media that this run could not encode, by reason.
        failed_before: The same for earlier runs, and for others at the same time.
        seconds: Time since the lane was opened.
        differs_from: The nearest other feature set of the modality, and how this new one differs
            from it; None where this one was there before or is the first.
        other_versions: The packages that made rows of this set in other versions than these, a
            line each.
    """

    modality: str
    path: PurePath
    fingerprint: str
    planned: int
    done_before: int
    encoded: int
    failed: Mapping[str, int]
    failed_before: Mapping[str, int]
    seconds: float
    differs_from: tuple[str, tuple[str, ...]] | None = None
    other_versions: tuple[str, ...] = ()

    @property
    def failures(self) -> int:
        """Planned media without a row, whichever run found out."""
        return sum(self.failed.values()) + sum(self.failed_before.values())


@dataclass
class EncodingLane:
    """Take prepared media in the plan's order, encode them in batches, commit them in shards.

    What shares a batch or a shard depends on the order of the media alone. A shard is committed
    at the end of every slice of `shard_rows` media, and where a batch takes it over some 64 MB, so
    a run that was cut off goes on exactly where an undisturbed one would have been, and it makes
    no difference which of several writers encodes a slice. Batches are encoded in a pool of
    threads; their rows are written in order.

    Attributes:
        encoder: Of this modality.
        writer: Of its feature set, open.
        media: The unique media that are wanted.
        batch_size: The most images, frames or clips in a forward pass.
        limits: The present ones; a failure by a lower one is tried again.
        retry_failures: Try all failures of these media again.
        stop: What asks to begin no further slice.
        stages: What is told how long decoding, encoding and writing take.
        pending: The keys that this run has to encode.
    """

    encoder: Encoder
    writer: FeatureWriter
    media: Sequence[MediumRef]
    shard_rows: int
    batch_size: int
    limits: Limits
    retry_failures: bool = False
    stop: Stop = NEVER
    differs_from: tuple[str, tuple[str, ...]] | None = None
    stages: Stages = field(default_factory=Stages)
    pending: set[bytes] = field(init=False)
    _slices: Slices = field(init=False)
    _bar: Any = None
    _pool: Executor | None = None
    _batch: Batch = field(default_factory=list)
    _running: deque[tuple[Batch, Future[list[Row | MediumError]]]] = field(default_factory=deque)
    _units: int = 0
    _encoded: int = 0
    _failed: dict[bytes, str] = field(default_factory=dict)
    _started: float = field(default_factory=time.perf_counter)

    def __post_init__(self) -> None:
        keys = [ref.key for ref in self.media]
        failures = self.writer.failures
        self.writer.forget(key for key in keys if key in failures and self._again(failures[key]))
        self.pending = set(keys) - self.writer.done
        self._slices = Slices(self.writer, keys, self.shard_rows, self.stop)

    def open_bar(self, *, position: int, progress: bool) -> None:
        """Show a progress bar on a terminal, until the lane is closed."""
        self._bar = tqdm(
            total=len(self.media),
            initial=len(self.media) - len(self.pending),
            desc=self.encoder.modality,
            unit=MODALITIES[self.encoder.modality].unit,
            position=position,
            disable=None if progress else True,
        )

    def advance(self, count: int) -> None:
        """Show on the bar that so many media more are done."""
        if self._bar is not None:
            self._bar.update(count)

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()

    def _again(self, failure: Failure) -> bool:
        """Return whether a medium that failed is to be tried again."""
        raised = [
            getattr(self.limits, name, 0) > was for name, was in (failure.limit or {}).items()
        ]
        return self.retry_failures or failure.reason == MediumChanged.reason or any(raised)

    @property
    def idle(self) -> bool:
        """Whether nothing is left to encode."""
        return {*self.pending, BLANK_KEY} <= self.writer.done

    def begin(self, pool: Executor, *, insist: bool = False) -> None:
        """Encode the blank row, which is a slice; batches will be encoded in the pool."""
        self._pool = pool
        if not self.writer.claim([BLANK_KEY], insist=insist):
            return
        try:
            row = pool.submit(encode_blank, self.encoder).result()
            self.writer.append(BLANK_KEY, row)
        except (FeatureNotFinite, MediumError) as error:
            raise EncoderError(
                f"the {self.encoder.modality} encoder cannot encode its blank input: {error}"
            ) from error
        except (ValueError, RuntimeError) as error:
            if isinstance(error, PromptFuseError):
                raise
            raise EncoderError(
                f"the {self.encoder.modality} encoder does not fit its preprocessing: {error}"
            ) from error
        self.writer.commit()

    def wants(self, key: bytes) -> bool:
        """Return whether a medium is to be prepared for this lane, as the next that it takes."""
        return self._slices.wants(key)

    def again(self) -> bool:
        """Go on to what another writer had in hand; return whether anything is left."""
        return self._slices.again() or BLANK_KEY not in self.writer.done

    def left(self) -> list[Sequence[MediumRef]]:
        """Return the slices that are not done, for others to encode; one of none for the blank."""
        slices = [part for part in cut(self.media, self.shard_rows) if not self._is_done(part)]
        return slices or ([] if self.idle else [()])

    def _is_done(self, part: Sequence[MediumRef]) -> bool:
        return {ref.key for ref in part} <= self.writer.done

    def catch_up(self) -> None:
        """Take what others committed of this lane's media for what this run has done."""
        self.writer.catch_up()
        done, failures = self.pending & self.writer.done, self.writer.failures
        self._failed = {key: failures[key].reason for key in done & failures.keys()}
        self._encoded = len(done) - len(self._failed)

    def take(self, ref: MediumRef, prepared: np.ndarray | MediumError) -> None:
        """Encode as soon as a batch is full, and commit at the end of a slice."""
        self._batch.append((ref, prepared))
        if isinstance(prepared, np.ndarray):
            self._units += self.encoder.units(prepared)
        if self._units >= self.batch_size:
            self._encode()
        if self._slices.finish_one():
            self._commit()

    def _commit(self) -> None:
        self._encode()
        while self._running:
            self._collect()
        with self.stages.timing("write", 0):
            self.writer.commit()

    def summary(self) -> EncodingSummary:
        """Return what was done so far."""
        failures = self.writer.failures
        others = [ref.key for ref in self.media if ref.key in failures.keys() - self._failed.keys()]
        return EncodingSummary(
            modality=self.encoder.modality,
            path=self.writer.path,
            fingerprint=self.writer.manifest.fingerprint,
            planned=len(self.media),
            done_before=len(self.media) - len(self.pending),
            encoded=self._encoded,
            failed=dict(Counter(self._failed.values())),
            failed_before=dict(Counter(failures[key].reason for key in others)),
            seconds=time.perf_counter() - self._started,
            differs_from=self.differs_from,
            other_versions=tuple(self.writer.other_versions),
        )

    def _encode(self) -> None:
        if not self._batch or self._pool is None:
            return
        batch, self._batch, self._units = self._batch, [], 0
        job = self._pool.submit(self._rows, batch)
        self._running.append((batch, job))
        while len(self._running) > 1 and self._is_full():
            self._collect()

    def _rows(self, batch: Batch) -> list[Row | MediumError]:
        encoder = self.encoder
        with self.stages.timing(f"encode {encoder.modality}", len(batch), threads=encoder.parallel):
            return encode_batch(encoder, batch, self.batch_size)

    def _is_full(self) -> bool:
        most = self.encoder.parallel + 1
        media = [prepared for batch, _ in self._running for _, prepared in batch]
        arrays = [item for item in media if isinstance(item, np.ndarray)]
        held = sum(array.nbytes for array in arrays)
        return len(self._running) >= most or held > most * _BATCH_BYTES

    def _collect(self) -> None:
        """Write the rows and failures of the batch that has run longest."""
        batch, job = self._running.popleft()
        rows = iter(job.result())
        with self.stages.timing("write", len(batch)):
            for ref, prepared in batch:
                row = prepared if isinstance(prepared, MediumError) else next(rows)
                if isinstance(row, MediumError):
                    self._fail(ref, row)
                else:
                    self._append(ref, row)
            if self.writer.pending_bytes >= PART_BYTES:
                self.writer.commit()
        self.advance(len(batch))

    def _append(self, ref: MediumRef, row: Row) -> None:
        try:
            self.writer.append(ref.key, row)
            self._encoded += 1
        except FeatureNotFinite as error:
            self._fail(ref, error)

    def _fail(self, ref: MediumRef, error: MediumError) -> None:
        name = ref.name or str(ref.path)
        self.writer.fail(Failure(ref.key, name, error.reason, str(error), error.limit))
        self._failed[ref.key] = error.reason
