"""Media → features: plan, decode, encode, write; what is done already is left alone."""

from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import PurePath
from typing import Protocol

import numpy as np

from ..cache.backends import Format
from ..cache.fingerprint import explain_difference
from ..cache.layout import folders_of_sets
from ..cache.manifest import MANIFEST_NAME, Manifest, read_manifest
from ..cache.modalities import MODALITIES
from ..cache.objects import store_at
from ..cache.store import FeatureWriter, feature_set_path
from ..cluster import own_versions
from ..errors import CacheError, ConfigError
from ..stopping import NEVER, Stop
from ..threads import undivided_work, usable_processors
from .datasets.ingest import MediumRef
from .encoders.base import Encoder
from .encoders.image import share_towers
from .encoding import PART_BYTES, EncodingLane, EncodingSummary
from .in_hand import InHand, crashing
from .media import Limits
from .prepare import Prepared, prepare_medium
from .room import Window
from .stages import Stages

_WINDOW_BYTES = 128 * 2**20

Prepare = Callable[[MediumRef, Mapping[str, Encoder]], Prepared]


class Engine(Protocol):
    """Where media are prepared, encoded and written: in this process, or on a cluster."""

    def __call__(
        self,
        media: Sequence[MediumRef],
        lanes: Mapping[str, EncodingLane],
        cache_root: PurePath,
        *,
        workers: int | None,
    ) -> None:
        """Encode what the lanes lack of the media, until one asks to stop."""
        ...


def extract_features(
    media: Sequence[MediumRef],
    encoders: Mapping[str, Encoder],
    cache_root: PurePath,
    *,
    format: Format = "arrow",  # noqa: A002  (the word users type)
    shard_rows: int | None = None,
    batch_size: int = 32,
    workers: int | None = None,
    limits: Limits | None = None,
    retry_failures: bool = False,
    progress: bool = True,
    stop: Stop = NEVER,
    engine: Engine | None = None,
    stages: Stages | None = None,
) -> dict[str, EncodingSummary]:
    """Return what was done, by modality, every feature that was missing being in the cache.

    Media are decoded in threads, not far ahead of the encoders, which have threads of their own;
    the calling thread writes, in order. A file whose video and sound are both wanted is decoded
    once. A medium that cannot be used is recorded with its reason, and the rest goes on.

    Args:
        media: What to encode, in the order that decides batches and shards.
        encoders: By modality; media are encoded for each of them that they have.
        cache_root: The cache's folder.
        format: Of new shards.
        shard_rows: The most media a shard; by default as many as keep it below some 64 MB.
        batch_size: The most images, frames or clips in one forward pass.
        workers: Decoding threads; by default one a processor.
        limits: On the media's bytes, pixels and seconds.
        retry_failures: Try those of the media again that an earlier run could not encode; those
            refused by a limit that was raised since are tried again anyway.
        progress: Show progress bars, if on a terminal.
        stop: What asks to stop; slices in hand are finished before.
        engine: What prepares, encodes and writes the lanes' media; by default this process.
        stages: What is told how long each stage takes, where this process does the work.

    Raises:
        Stopped: If it was asked to and something is left.
    """
    _check_positive(batch_size=batch_size, shard_rows=shard_rows, workers=workers)
    limits, stages = limits or Limits(), stages or Stages()
    share_towers(encoders.values())
    with ExitStack() as stack:
        lanes: dict[str, EncodingLane] = {}
        for position, (modality, encoder) in enumerate(encoders.items()):
            manifest = manifest_of(encoder)
            unique = {ref.key: ref for ref in media if modality in ref.modalities}
            differs_from = _nearest(cache_root, manifest)
            lane = EncodingLane(
                encoder,
                stack.enter_context(FeatureWriter(cache_root, manifest, format=format)),
                list(unique.values()),
                shard_rows=shard_rows or default_shard_rows(encoder),
                batch_size=batch_size,
                limits=limits,
                retry_failures=retry_failures,
                stop=stop,
                differs_from=differs_from,
                stages=stages,
            )
            stack.callback(lane.close)
            lanes[modality] = lane
            if not lane.idle:
                lane.open_bar(position=position, progress=progress)
        busy = {modality: lane for modality, lane in lanes.items() if not lane.idle}
        if busy:
            (engine or encode_here)(media, busy, cache_root, workers=workers)
        if left := sum(len(lane.pending - lane.writer.done) for lane in lanes.values()):
            stop.check(f"with {left} media left to encode; the same command goes on")
        return {modality: lane.summary() for modality, lane in lanes.items()}


def default_shard_rows(encoder: Encoder) -> int:
    """Return the number of media a shard, fewer where rows of five seconds are heavy."""
    row_bytes = sum(
        spec.step_bytes * (encoder.blank_steps if spec.ragged else 1) for spec in encoder.fields
    )
    return max(1, min(MODALITIES[encoder.modality].shard_rows, PART_BYTES // row_bytes))


def manifest_of(encoder: Encoder) -> Manifest:
    """Return the manifest of the feature set that an encoder fills."""
    return Manifest(
        modality=encoder.modality,
        identity=dict(encoder.identity),
        fields=encoder.fields,
        provenance={**encoder.provenance, "versions": own_versions()},
    )


def _nearest(cache_root: PurePath, manifest: Manifest) -> tuple[str, tuple[str, ...]] | None:
    """Return the feature set that a new one is most like, and where it differs."""
    folder = feature_set_path(cache_root, manifest.modality, manifest.fingerprint)
    if store_at(folder).size(MANIFEST_NAME) is not None:
        return None
    nearest: list[tuple[bool, int, str, list[str]]] = []
    for path in folders_of_sets(cache_root, manifest.modality):
        with suppress(CacheError):  # another set that cannot be read is no concern of this one
            held = read_manifest(path)
            if held.fingerprint == manifest.fingerprint:
                return None  # it lies there in version 1
            other, lines = _differences(manifest, held)
            nearest.append((other, len(lines), held.fingerprint, lines))
    if not nearest:
        return None
    *_, fingerprint, lines = min(nearest)
    return fingerprint, tuple(lines)


def _differences(wanted: Manifest, held: Manifest) -> tuple[bool, list[str]]:
    """Return whether two sets have different encoders, and where they differ, in few lines."""
    mine, theirs = ({n: m.identity.get(n) for n in ("family", "id")} for m in (wanted, held))
    if mine != theirs:
        return True, explain_difference(mine, theirs)
    lines = explain_difference(wanted.identity, held.identity)
    return False, lines or explain_difference(wanted.fingerprinted, held.fingerprinted)


def encode_here(
    media: Sequence[MediumRef],
    lanes: Mapping[str, EncodingLane],
    cache_root: PurePath,
    *,
    workers: int | None = None,
    rounds: Sequence[bool] = (False, True),
) -> None:
    """Decode and encode in threads of this process; an `Engine`.

    In each of the rounds, what other writers have in hand is passed over or insisted on.
    """
    workers, busy = workers or usable_processors(), lanes
    for lane in busy.values():
        lane.encoder.load()
    parallel = min(lane.encoder.parallel for lane in busy.values())
    most = max(lane.batch_size for lane in busy.values()) + 2 * workers
    with undivided_work() as begin_thread, ExitStack() as stack:
        in_hand = stack.enter_context(InHand(cache_root))
        prepare = _preparation(media, busy, in_hand, workers=workers)
        encoding = stack.enter_context(_threads(parallel, begin_thread, name="encode"))
        decoding = stack.enter_context(_threads(workers, begin_thread, name="decode"))
        for insist in rounds:
            for lane in busy.values():
                lane.begin(encoding, insist=insist)
            ahead = _decoded(_plan(media, busy), prepare, decoding, most=most)
            with closing(ahead):
                for ref, prepared in ahead:
                    for modality, item in prepared.items():
                        busy[modality].take(ref, item)
            # what others had in hand then is done by now, or has to be done after all
            busy = {modality: lane for modality, lane in busy.items() if lane.again()}


def _preparation(
    media: Sequence[MediumRef],
    lanes: Mapping[str, EncodingLane],
    in_hand: InHand,
    *,
    workers: int,
) -> Prepare:
    """Return what prepares a medium, unless it is one that ends a process: those are tried first.

    A medium that was in hand when a process died may have been its death, or just have been there.
    """
    limits, stages = next((lane.limits, lane.stages) for lane in lanes.values())
    suspects: dict[bytes, tuple[MediumRef, dict[str, Encoder]]] = {}
    for ref in media:
        if ref.key in in_hand.suspects:
            wanted = {m: lane.encoder for m, lane in lanes.items() if ref.key in lane.pending}
            if wanted:
                suspects[ref.key] = ref, wanted
    crashed = crashing(list(suspects.values()), limits)

    def prepare(ref: MediumRef, wanted: Mapping[str, Encoder]) -> Prepared:
        if ref.key in crashed:
            return dict.fromkeys(wanted, crashed[ref.key])
        with in_hand.noting(ref.key), stages.timing("decode", 1, threads=workers):
            return prepare_medium(ref, wanted, limits)

    return prepare


@contextmanager
def _threads(
    count: int, begin_thread: Callable[[], object], *, name: str
) -> Iterator[ThreadPoolExecutor]:
    """Yield a pool of threads; what it has not begun is dropped on the way out."""
    pool = ThreadPoolExecutor(count, thread_name_prefix=name, initializer=begin_thread)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _plan(
    media: Sequence[MediumRef], lanes: Mapping[str, EncodingLane]
) -> Iterator[tuple[MediumRef, dict[str, Encoder]]]:
    """Yield each medium that is needed, once, with the encoders that need it."""
    for ref in media:
        wanted = {
            modality: lane.encoder
            for modality, lane in lanes.items()
            if modality in ref.modalities and lane.wants(ref.key)
        }
        if wanted:
            yield ref, wanted


def _decoded(
    plan: Iterator[tuple[MediumRef, dict[str, Encoder]]],
    prepare: Prepare,
    pool: Executor,
    *,
    most: int,
) -> Generator[tuple[MediumRef, Prepared]]:
    """Yield media in the plan's order, with at most `most` and not too many bytes of them ahead."""
    waiting: deque[tuple[int, MediumRef, Future[Prepared]]] = deque()

    def job(number: int, ref: MediumRef, wanted: Mapping[str, Encoder]) -> Prepared:
        window.enter(number)
        prepared = prepare(ref, wanted)
        arrays = [item for item in prepared.values() if isinstance(item, np.ndarray)]
        window.put(number, sum(array.nbytes for array in arrays))
        return prepared

    def first() -> Iterator[tuple[MediumRef, Prepared]]:
        number, ref, future = waiting.popleft()
        yield ref, future.result()
        window.take(number)

    with closing(Window(_WINDOW_BYTES)) as window:
        for number, (ref, wanted) in enumerate(plan):
            waiting.append((number, ref, pool.submit(job, number, ref, wanted)))
            if len(waiting) >= most:
                yield from first()
        while waiting:
            yield from first()


def _check_positive(**values: int | None) -> None:
    for name, value in values.items():
        if value is not None and value < 1:
            raise ConfigError(f"{name} must be at least 1, not {value}")
