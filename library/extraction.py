"""A dataset's files → features in the cache, as the settings say."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from ..cache.commits import Failure
from ..cache.examples import read_dataset, read_datasets
from ..cache.modalities import MODALITIES
from ..cache.store import FeatureSet
from ..errors import CacheError, ConfigError, DatasetMissing, UnknownName, did_you_mean
from ..extract.datasets import DATASETS, Ingested, RawDataset, ingest, read_raw
from ..extract.encoders import Encoder, EncoderOptions, load_encoder
from ..extract.encoding import EncodingSummary
from ..extract.media import FrameSampling, Limits
from ..extract.pipeline import extract_features
from ..extract.settings import ExtractSettings
from ..settings import by_modality
from ..stopping import Stop
from ..train.data.selection import select
from ..train.settings import InputChoice
from .workspace import DatasetRow, Workspace, shipped

TABLES = (".jsonl", ".csv", ".parquet")


@dataclass(frozen=True)
class Extraction:
    """What an extraction did.

    Attributes:
        raw: The dataset's annotations.
        ingested: Its examples in the cache, and the media that could not be read.
        lanes: What was encoded of each modality.
        encoders: The family of each modality's encoder.
    """

    raw: RawDataset
    ingested: Ingested
    lanes: tuple[EncodingSummary, ...]
    encoders: tuple[str, ...]

    @property
    def failed(self) -> int:
        """How many media have no features."""
        return len(self.ingested.failures) + sum(lane.failures for lane in self.lanes)

    def failures(self) -> list[Failure]:
        """Return the failures of this dataset's media, of this extraction and earlier ones."""
        planned = {ref.key for ref in self.ingested.media}
        recorded = [
            failure
            for lane in self.lanes
            for failure in FeatureSet.open(lane.path).failures
            if failure.key in planned
        ]
        return [*self.ingested.failures, *recorded]


def extract(
    workspace: Workspace, settings: ExtractSettings, *, stop: Stop | None = None
) -> Extraction:
    """Write a dataset's examples and what is missing of its features into the cache.

    Args:
        workspace: Names the dataset; says where its files and the cache lie.
        settings: What to extract.
        stop: What asks to stop; by default the settings' time limit.

    Raises:
        Stopped: If it was asked to and something is left; the same call goes on.
        ConfigError: If it is not told which dataset, where the data is, which adapter reads it, or
            a modality is asked for that it does not have.
        CacheBusy: If another process writes one of the feature sets.
        EncoderError: If an encoder cannot be built or does not fit its preprocessing.
    """
    stop = stop or Stop(settings.time_limit)
    if workspace.dataset is None:
        raise ConfigError("extract(dataset=…): which dataset? name one, such as mustard")
    raw = read_dataset_files(workspace, workspace.dataset, settings)
    modalities = _modalities(raw, settings)
    encoders = _encoders(workspace.row(workspace.dataset), modalities, settings)
    cache_root = workspace.cache
    ingested = ingest(raw, cache_root, modalities=modalities, limit=settings.limit)
    summary = extract_features(
        ingested.media,
        encoders,
        cache_root,
        format=settings.format,
        shard_rows=settings.shard_rows,
        batch_size=settings.batch_size,
        workers=settings.workers,
        limits=_limits(settings),
        retry_failures=settings.retry_failures,
        stop=stop,
    )
    families = tuple(str(encoder.identity["family"]) for encoder in encoders.values())
    return Extraction(raw, ingested, tuple(summary.values()), families)


def provide_generated(workspace: Workspace, inputs: Iterable[InputChoice]) -> Iterator[Extraction]:
    """Extract what is going to be fed in of a generated dataset and is not in the cache.

    Of any other dataset, nothing: extraction takes long, and is asked for.

    Args:
        workspace: Names the dataset; says where the cache and the generated data lie.
        inputs: What is going to be fed in.

    Yields:
        What was done, each extraction once it is.
    """
    dataset = workspace.dataset
    if dataset is None or workspace.data or workspace.row(dataset).generator is None:
        return
    cache_root = workspace.cache
    if dataset not in [info.name for info in read_datasets(cache_root)]:
        yield extract(workspace, ExtractSettings())
    modalities = read_dataset(cache_root, dataset).modalities
    for choice in inputs:
        wanted = replace(choice, modalities=choice.modalities or modalities)
        if not _is_there(cache_root, dataset, wanted):
            yield extract(workspace, _extraction(wanted))


def _is_there(cache_root: Path, dataset: str, wanted: InputChoice) -> bool:
    try:
        selection = select(cache_root, dataset, "train", wanted)
    except CacheError:  # extraction repairs it, or says what it cannot repair
        return False
    asked = wanted.fields or {}
    return wanted.live or all(
        asked.get(name, MODALITIES[name].default_field) in features.manifest.names
        for name, features in selection.features.items()
    )


def _extraction(wanted: InputChoice) -> ExtractSettings:
    if wanted.live:
        decoded = {name: MODALITIES[name].decoded_field for name in wanted.modalities or ()}
        return ExtractSettings(modality=wanted.modalities, encoder=decoded)
    return ExtractSettings(modality=wanted.modalities, fields=dict(wanted.fields) or None)


def read_dataset_files(workspace: Workspace, dataset: str, settings: ExtractSettings) -> RawDataset:
    """Return a dataset's annotations; an embedded dataset is generated if it is not there.

    Raises:
        ConfigError: If it is not told where the data is or which adapter reads it.
    """
    row, data = workspace.row(dataset), workspace.data_of(dataset)
    if data is None:
        known = [*workspace.datasets, *shipped().datasets, *DATASETS]
        nearest = did_you_mean(dataset, known)
        raise ConfigError(f"where is {dataset}? give its folder or table: --data PATH{nearest}")
    if row.generator is not None and not (workspace.data or row.data):
        _generate(data, row.generator)
    adapter = settings.adapter or row.adapter or _adapter_for(dataset, data)
    named = {"columns": dict(settings.columns)} if settings.columns else {}
    return read_raw(
        adapter, data, name=dataset, options={**row.options, **settings.options, **named}
    )


def _generate(folder: Path, generator: str) -> None:
    from ..demo import GENERATORS, generate

    if generator not in GENERATORS:
        raise UnknownName("generator", generator, GENERATORS)
    generate(folder, GENERATORS[generator])


def _adapter_for(dataset: str, data: Path) -> str:
    if dataset in DATASETS:
        return dataset
    if data.suffix.lower() in TABLES:
        return "table"
    if not data.exists():
        raise DatasetMissing(f"--data {data}: no such file or folder")
    raise ConfigError(
        f"how is {data} to be read? name its adapter: --adapter {', '.join(sorted(DATASETS))}"
    )


def _modalities(raw: RawDataset, settings: ExtractSettings) -> tuple[str, ...]:
    held = raw.info.modalities
    if not held:
        columns = ", ".join(MODALITIES)
        raise ConfigError(
            f"{raw.info.name} names no media: give its table a column {columns}, or say which "
            f"column it is: --column {next(iter(MODALITIES))}=NAME"
        )
    wanted = settings.modality or held
    for name in wanted:
        if name not in held:
            raise ConfigError(f"{raw.info.name} has no {name}; it has: {', '.join(held)}")
    return wanted


def _encoders(
    row: DatasetRow, modalities: tuple[str, ...], settings: ExtractSettings
) -> dict[str, Encoder]:
    specs = by_modality("--encoder", settings.encoder, modalities)
    fields = by_modality("--fields", settings.fields, modalities)
    revisions = by_modality("--encoder-revision", settings.encoder_revision, modalities)
    options = EncoderOptions(
        compute_dtype=settings.compute_dtype,
        storage_dtype=settings.storage_dtype,
        sampling=_sampling(settings),
        device=settings.device,
    )
    return {
        name: load_encoder(
            name,  # pyright: ignore[reportArgumentType]
            row.encoder_for(name, specs.get(name)),
            options=replace(
                options,
                fields=tuple(fields[name].split(",")) if name in fields else None,
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


def _limits(settings: ExtractSettings) -> Limits:
    given = {name: getattr(settings, name) for name in ("max_pixels", "max_seconds", "max_bytes")}
    return Limits(**{name: value for name, value in given.items() if value is not None})
