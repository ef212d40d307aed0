"""The same extraction on a Ray cluster: each slice of the plan is a row of a Ray dataset."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Any

from ..cache.backends import Format
from ..cache.checked import file_state
from ..cache.fetched import fetched_here
from ..cache.fingerprint import explain_difference
from ..cache.keys import file_sha256, span_key
from ..cache.mirror import fetched_root
from ..cache.store import FeatureWriter
from ..cluster import Share, Workplace, as_data, passing_on, raise_again, ray_cluster
from ..errors import EncoderError, EngineError, PromptFuseError
from .datasets.ingest import MediumRef
from .encoders.base import Encoder
from .encoders.image import share_towers
from .encoding import EncodingLane
from .media import Limits
from .pipeline import encode_here, manifest_of

MakeEncoder = Callable[[], Encoder]

_FETCHED_AT_ONCE = 16


@dataclass(frozen=True)
class RayEngine:
    """An `Engine`: a pool of actors, each of which prepares, encodes and commits whole slices.

    An actor has its encoders in memory, threads that decode, and the writer that any process
    has. A slice whose actor dies is given to another one; what was committed of it is not done
    again. Nothing is decoded in this process.

    Attributes:
        make: What builds each modality's encoder on a worker; as the lanes' encoders are.
        format: Of new shards.
        address: The cluster's; None starts Ray here.
        actors: By default one a GPU, or one a node where there are none.
        gpus: Whether encoders run on GPUs where the cluster has some.
    """

    make: Mapping[str, MakeEncoder]
    format: Format = "arrow"
    address: str | None = None
    actors: int | None = None
    gpus: bool = True

    def __call__(
        self,
        media: Sequence[MediumRef],  # noqa: ARG002  # the lanes have them too
        lanes: Mapping[str, EncodingLane],
        cache_root: PurePath,
        *,
        workers: int | None,
    ) -> None:
        """Encode what the lanes lack, until one asks to stop."""
        stop = next(iter(lanes.values())).stop
        with ray_cluster(self.address) as ray, passing_on(ray, stop) as asked_to_stop:
            share = Share.of(ray, self.actors, gpus=self.gpus)
            plan = _Plan(
                {modality: self.make[modality] for modality in lanes},
                {modality: _Lane.of(lane, self.format) for modality, lane in lanes.items()},
                cache_root,
                Workplace.here(),
                fetched_root(),
                workers or max(1, int(share.cpus)),
                asked_to_stop,
            )
            for insist in (False, True):
                rows = [
                    {"slice": _Slice(modality, tuple(part), insist)}
                    for modality, lane in lanes.items()
                    for part in lane.left()
                ]
                if rows and stop.why is None:
                    for done in _map(ray, rows, plan, share):
                        if done["kind"]:
                            raise_again(done)
                        lanes[done["modality"]].advance(done["media"])
                    for lane in lanes.values():
                        lane.catch_up()


@dataclass(frozen=True)
class _Slice:
    """A row of the dataset; without media it stands for the blank row alone."""

    modality: str
    media: tuple[MediumRef, ...]
    insist: bool


@dataclass(frozen=True)
class _Lane:
    """What a worker's lane has in common with the one that planned it."""

    fingerprinted: Mapping[str, Any]
    format: Format
    batch_size: int
    limits: Limits
    retry_failures: bool

    @classmethod
    def of(cls, lane: EncodingLane, format: Format) -> "_Lane":  # noqa: A002
        fingerprinted = lane.writer.manifest.fingerprinted
        return cls(fingerprinted, format, lane.batch_size, lane.limits, lane.retry_failures)


@dataclass(frozen=True)
class _Plan:
    """What every actor is told."""

    make: Mapping[str, MakeEncoder]
    lanes: Mapping[str, _Lane]
    cache_root: PurePath
    workplace: Workplace
    fetched_root: Path  # of the process that planned, to know media of a store
    workers: int
    asked_to_stop: Callable[[], bool]


def _map(
    ray: Any, rows: Sequence[dict[str, Any]], plan: _Plan, share: Share
) -> Iterator[dict[str, Any]]:
    """Yield what the actors say of each slice, as they come to its end."""
    dataset = ray.data.from_items(list(rows), override_num_blocks=len(rows)).map(
        SliceEncoder,
        fn_constructor_args=(plan,),
        compute=ray.data.ActorPoolStrategy(
            size=min(share.workers, len(rows)), max_tasks_in_flight_per_actor=1
        ),
        num_cpus=share.cpus,
        num_gpus=share.gpus,
    )
    try:
        yield from dataset.iter_rows()
    except ray.exceptions.RayError as error:
        said = str(getattr(error, "cause", None) or error).strip().splitlines()
        raise EngineError(f"Ray's workers cannot go on: {said[-1]}") from error


class SliceEncoder:
    """An actor's work: prepare, encode and commit slices, as a process alone does.

    Args:
        plan: The same for all actors.
    """

    def __init__(self, plan: _Plan) -> None:
        self._plan = plan
        self._open = ExitStack()
        self._encoders: dict[str, Encoder] = {}
        self._writers: dict[str, FeatureWriter] = {}

    def __call__(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return how many media were done, or the error that ends the extraction."""
        part: _Slice = row["slice"]
        done = {"modality": part.modality, "media": 0, "kind": "", "message": ""}
        if self._plan.asked_to_stop():
            return done
        try:
            return done | {"media": self._encode(part)}
        except (PromptFuseError, OSError) as error:
            return done | as_data(error)

    def _encode(self, part: _Slice) -> int:
        plan, told = self._plan, self._plan.lanes[part.modality]
        plan.workplace.enter(plan.cache_root)
        with ThreadPoolExecutor(_FETCHED_AT_ONCE) as pool:
            media = list(pool.map(self._at_hand, part.media))
        plan.workplace.enter(*(ref.path.parent for ref in media[:1]))
        encoder = self._encoder(part.modality)
        lane = EncodingLane(
            encoder,
            self._writer(encoder),
            media,
            shard_rows=max(1, len(media)),
            batch_size=told.batch_size,
            limits=told.limits,
            retry_failures=told.retry_failures,
        )
        lanes = {part.modality: lane}
        encode_here(media, lanes, plan.cache_root, workers=plan.workers, rounds=(part.insist,))
        return len(lane.pending & lane.writer.done)

    def _at_hand(self, ref: MediumRef) -> MediumRef:
        """Return a medium as it lies here: one of a store is fetched, and told by its bytes."""
        if not ref.path.is_relative_to(self._plan.fetched_root):
            return ref
        path = fetched_here(ref.path, self._plan.fetched_root)
        state = file_state(path)
        if state != ref.state:
            key = file_sha256(path)
            if ref.key == (span_key(key, ref.span_seconds) if ref.span_seconds else key):
                return replace(ref, path=path, state=state)
        return replace(ref, path=path)

    def _encoder(self, modality: str) -> Encoder:
        if not self._encoders:
            self._encoders = {name: make() for name, make in self._plan.make.items()}
            share_towers(self._encoders.values())
        return self._encoders[modality]

    def _writer(self, encoder: Encoder) -> FeatureWriter:
        modality = encoder.modality
        if modality not in self._writers:
            manifest, told = manifest_of(encoder), self._plan.lanes[modality]
            if lines := explain_difference(told.fingerprinted, manifest.fingerprinted):
                raise EncoderError(
                    f"the {modality} encoder here is another one than where the extraction was "
                    f"started: {'; '.join(lines)}; give all nodes the same files"
                )
            writer = FeatureWriter(self._plan.cache_root, manifest, format=told.format)
            self._writers[modality] = self._open.enter_context(writer)
        return self._writers[modality]
