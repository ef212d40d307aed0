"""A dataset's files → features in the cache, as the settings say."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path, PurePath

from ..cache.commits import Failure
from ..cache.examples import DatasetInfo, read_dataset, read_datasets
from ..cache.fetched import fetch
from ..cache.modalities import MODALITIES
from ..cache.places import Url, place_of
from ..cache.store import FeatureSet
from ..errors import CacheError, ConfigError, DatasetMissing, UnknownName, did_you_mean
from ..extract.datasets import TABLE, RawDataset, Source, adapters
from ..extract.datasets.ingest import Ingested, ingest, recall
from ..extract.datasets.records import TABLES
from ..extract.encoders import Encoder, EncoderOptions, load_encoder
from ..extract.encoding import EncodingSummary
from ..extract.media import FrameSampling, Limits
from ..extract.pipeline import Engine, extract_features
from ..extract.settings import ExtractSettings
from ..extract.stages import Stages
from ..settings import by_modality
from ..stopping import Stop
from ..train.settings import InputChoice
from .workspace import DatasetRow, Workspace, shipped


@dataclass(frozen=True)
class Extraction:
    """What an extraction did of a dataset's annotations, one lane a modality.

    `ingested` are its examples in the cache, and the media that could not be read; `stages` says
    how fast decoding, encoding and writing were.
    """

    ingested: Ingested
    lanes: tuple[EncodingSummary, ...]
    stages: Stages = field(default_factory=Stages)

    @property
    def failed(self) -> int:
        """How many media have no features."""
        return len(self.ingested.failures) + sum(lane.failures for lane in self.lanes)

    def failures(self) -> list[Failure]:
        """Return the failures of this dataset's media, of this extraction and earlier ones."""
        planned = {ref.key for ref in self.ingested.media}
        sets = [FeatureSet.open(lane.path) for lane in self.lanes]
        recorded = [failure for features in sets for failure in features.failures]
        own = [failure for failure in recorded if failure.key in planned]
        return [*self.ingested.failures, *own]


def extract(
    workspace: Workspace, settings: ExtractSettings, *, stop: Stop | None = None
) -> Extraction:
    """Write the examples of a workspace's dataset, and what its features lack, into the cache.

    It stops as `stop` asks, by default at the settings' time limit.

    Raises:
        Stopped: If it was asked to and something is left; the same call goes on.
    """
    stop = stop or Stop(settings.time_limit)
    if workspace.dataset is None:
        raise ConfigError("extract(dataset=…): which dataset? name one, such as mustard")
    source = dataset_source(workspace, workspace.dataset, settings)
    origin = source.origin() if settings.limit is None else None
    found = (origin and recall(workspace.cache, workspace.dataset, origin)) or source.read()
    modalities = _modalities(found.info, settings)
    make = _encoders(workspace.row(workspace.dataset), modalities, settings)
    encoders = {name: build() for name, build in make.items()}
    if isinstance(found, RawDataset):
        found = ingest(found, workspace.cache, limit=settings.limit)
    ingested = found.of(modalities)
    given = {name: getattr(settings, name) for name in ("max_pixels", "max_seconds", "max_bytes")}
    stages = Stages()
    summary = extract_features(
        ingested.media,
        encoders,
        workspace.cache,
        format=settings.format,
        shard_rows=settings.shard_rows,
        batch_size=settings.batch_size,
        workers=settings.workers,
        limits=Limits(**{name: limit for name, limit in given.items() if limit is not None}),
        retry_failures=settings.retry_failures,
        stop=stop,
        engine=_engine(make, settings),
        stages=stages,
    )
    return Extraction(ingested, tuple(summary.values()), stages)


def _engine(make: Mapping[str, Callable[[], Encoder]], settings: ExtractSettings) -> Engine | None:
    if settings.engine == "local":
        return None
    from ..extract.on_ray import RayEngine

    return RayEngine(
        make,
        format=settings.format,
        address=settings.address,
        actors=settings.ray_actors,
        gpus=settings.device != "cpu",
    )


def provide_generated(workspace: Workspace, inputs: Iterable[InputChoice]) -> Iterator[Extraction]:
    """Extract what is going to be fed in of a generated dataset and is not in the cache.

    Of any other dataset, nothing: extraction takes long, and is asked for. Each extraction is
    yielded once it is done.
    """
    dataset = workspace.dataset
    if dataset is None or workspace.data or workspace.row(dataset).generator is None:
        return
    if dataset not in [info.name for info in read_datasets(workspace.cache)]:
        yield extract(workspace, ExtractSettings())
    for choice in inputs:
        modalities = choice.modalities or read_dataset(workspace.cache, dataset).modalities
        if not _is_there(workspace.cache, dataset, replace(choice, modalities=modalities)):
            decoded = {name: MODALITIES[name].decoded_field for name in modalities}
            encoder = decoded if choice.live else None
            fields = None if choice.live else dict(choice.fields) or None
            asked = ExtractSettings(modality=modalities, encoder=encoder, fields=fields)
            yield extract(workspace, asked)


def _is_there(cache_root: PurePath, dataset: str, wanted: InputChoice) -> bool:
    from ..train.data.selection import select  # brings torch, which an idle extract does without

    try:
        selection = select(cache_root, dataset, "train", wanted)
    except CacheError:  # extraction repairs it, or says what it cannot repair
        return False
    return wanted.live or all(
        wanted.fields.get(name, MODALITIES[name].default_field) in features.manifest.names
        for name, features in selection.features.items()
    )


def dataset_source(workspace: Workspace, dataset: str, settings: ExtractSettings) -> Source:
    """Return where a dataset's annotations are; an embedded one is generated if it is not there."""
    row, data = workspace.row(dataset), workspace.data_of(dataset)
    if data is None:
        known = [*workspace.datasets, *shipped().datasets, *adapters()]
        nearest = did_you_mean(dataset, known)
        raise ConfigError(f"where is {dataset}? give its folder or table: --data PATH{nearest}")
    if row.generator is not None and not (workspace.data or row.data):
        from ..demo import GENERATORS, generate

        if row.generator not in GENERATORS:
            raise UnknownName("generator", row.generator, GENERATORS)
        generate(data, GENERATORS[row.generator])
    if isinstance(url := place_of(workspace.data or row.data or ""), Url):
        data = fetch(url)
    adapter = settings.adapter or row.adapter or _adapter_for(dataset, data)
    options = {**row.options, **settings.options}
    if settings.columns:
        options["columns"] = dict(settings.columns)
    return Source(adapter, data, dataset, options)


def _adapter_for(dataset: str, data: Path) -> str:
    if dataset in adapters():
        return dataset
    if data.suffix.lower() in TABLES:
        return TABLE
    if not data.exists():
        raise DatasetMissing(f"--data {data}: no such file or folder")
    raise ConfigError(
        f"how is {data} to be read? name its adapter: --adapter {', '.join(adapters())}, "
        "or a recipe of your own: --adapter my.toml"
    )


def _modalities(info: DatasetInfo, settings: ExtractSettings) -> tuple[str, ...]:
    held = info.modalities
    if not held:
        columns = ", ".join(MODALITIES)
        raise ConfigError(
            f"{info.name} names no media: give its table a column {columns}, or say which "
            f"column it is: --column {next(iter(MODALITIES))}=NAME"
        )
    wanted = settings.modality or held
    for name in wanted:
        if name not in held:
            raise ConfigError(f"{info.name} has no {name}; it has: {', '.join(held)}")
    return wanted


def _encoders(
    row: DatasetRow, modalities: tuple[str, ...], settings: ExtractSettings
) -> dict[str, Callable[[], Encoder]]:
    """Return what builds each modality's encoder, here or in another process."""
    specs = by_modality("--encoder", settings.encoder, modalities)
    fields = by_modality("--fields", settings.fields, modalities)
    revisions = by_modality("--encoder-revision", settings.encoder_revision, modalities)
    return {
        name: partial(
            load_encoder,
            name,  # pyright: ignore[reportArgumentType]
            row.encoder_for(name, specs.get(name)),
            options=EncoderOptions(
                fields=tuple(fields[name].split(",")) if name in fields else None,
                compute_dtype=settings.compute_dtype,
                storage_dtype=settings.storage_dtype,
                sampling=_sampling(settings),
                decode=settings.decode,
                device=settings.device,
                revision=revisions.get(name),
            ),
        )
        for name in modalities
    }


def _sampling(settings: ExtractSettings) -> FrameSampling:
    if settings.fps is not None:
        return FrameSampling(rule="fps", fps=settings.fps)
    if settings.frames is not None:
        return FrameSampling(rule="uniform", count=settings.frames)
    return EncoderOptions().sampling
