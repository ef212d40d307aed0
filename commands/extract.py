"""`pfcli extract`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from ..cache.commits import Failure
from ..cache.decoded import is_decoded
from ..cache.store import FeatureSet, feature_sets
from ..config import ConfigFile, Workspace
from ..demo import DEMO_DATASETS, generate
from ..errors import ConfigError
from ..extract.datasets import DATASETS, Ingested, RawDataset, ingest, read_raw
from ..extract.encoders import Encoder, EncoderOptions, load_encoder
from ..extract.encoding import EncodingSummary
from ..extract.media import FrameSampling, Limits
from ..extract.pipeline import ExtractSummary, extract_features
from ..extract.settings import ExtractSettings
from ..tables import Table
from .defaults import DECODED, dataset_to_extract, encoder_for

TABLES = (".jsonl", ".csv", ".parquet")
_FAILURES_SHOWN = 10


def run_extraction(
    config: ConfigFile, workspace: Workspace, settings: ExtractSettings, *, hint: bool = True
) -> bool:
    """Extract a dataset's features and print what was done; return whether few enough failed.

    Args:
        config: The configuration file; it tells that a dataset was to be named.
        workspace: Where things lie.
        settings: What to extract.
        hint: Print what to run next.
    """
    dataset, by_default = dataset_to_extract(config, workspace)
    if by_default:
        print(f"no dataset named: using the embedded three-modality demo, {dataset}")
    raw = read_dataset_files(dataset, workspace, settings)
    modalities = _modalities(raw, settings)
    encoders = {name: _encoder(dataset, name, settings) for name in modalities}
    cache_root = Path(workspace.cache)
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
    )
    failures = len(ingested.failures) + summary.failures
    _report(ingested, summary)
    if failures > settings.max_failures:
        print(f"{failures} media failed; to accept that: --max-failures {failures}")
        return False
    if hint:
        live = all(encoder.identity["family"] in DECODED for encoder in encoders.values())
        named = "" if by_default else f" --dataset {dataset}"
        also = "" if live else _also(raw, cache_root)
        print(f"next: pfcli train --method {'finetune' if live else 'promptfuse'}{named}{also}")
    return True


def _also(raw: RawDataset, cache_root: Path) -> str:
    """Return a hint at the modalities of which the cache has no encoder's output."""
    missing = [
        name
        for name in raw.modalities
        if all(is_decoded(found.manifest) for found in feature_sets(cache_root, name))
    ]
    return f" (or first: pfcli extract --modality {','.join(missing)})" if missing else ""


def read_dataset_files(dataset: str, workspace: Workspace, settings: ExtractSettings) -> RawDataset:
    """Return a dataset's annotations; an embedded dataset is generated if it is not there.

    Raises:
        ConfigError: If it is not told where the data is or which adapter reads it.
    """
    if dataset in DEMO_DATASETS and workspace.data is None:
        folder = generate(dataset, Path(workspace.demo_data))
        return read_raw(DEMO_DATASETS[dataset].adapter, folder, name=dataset)
    if workspace.data is None:
        raise ConfigError(f"where is {dataset}? give its folder or table: --data PATH")
    data = Path(workspace.data).expanduser()
    adapter = settings.adapter or _adapter_for(dataset, data)
    return read_raw(adapter, data, name=dataset, options=settings.options)


def _adapter_for(dataset: str, data: Path) -> str:
    if dataset in DATASETS:
        return dataset
    if dataset in DEMO_DATASETS:
        return DEMO_DATASETS[dataset].adapter
    if data.suffix.lower() in TABLES:
        return "table"
    raise ConfigError(
        f"how is {data} to be read? name its adapter: --adapter {', '.join(sorted(DATASETS))}"
    )


def _modalities(raw: RawDataset, settings: ExtractSettings) -> tuple[str, ...]:
    wanted = settings.modality or raw.modalities
    for name in wanted:
        if name not in raw.modalities:
            raise ConfigError(
                f"{raw.name} has no {name}; it has: {', '.join(raw.modalities) or 'no media'}"
            )
    return wanted


def _encoder(dataset: str, modality: str, settings: ExtractSettings) -> Encoder:
    spec = encoder_for(dataset, modality, settings.encoder.get(modality))
    fields = settings.fields.get(modality)
    options = EncoderOptions(
        fields=tuple(fields.split(",")) if fields else None,
        compute_dtype=settings.compute_dtype,
        storage_dtype=settings.storage_dtype,
        sampling=_sampling(settings),
        device=settings.device,
    )
    return load_encoder(modality, spec, options=options)  # pyright: ignore[reportArgumentType]


def _sampling(settings: ExtractSettings) -> FrameSampling:
    if settings.fps is not None:
        return FrameSampling(rule="fps", fps=settings.fps)
    if settings.frames is not None:
        return FrameSampling(rule="uniform", count=settings.frames)
    return EncoderOptions().sampling


def _limits(settings: ExtractSettings) -> Limits:
    given = {name: getattr(settings, name) for name in ("max_pixels", "max_seconds", "max_bytes")}
    return Limits(**{name: value for name, value in given.items() if value is not None})


def _report(ingested: Ingested, summary: ExtractSummary) -> None:
    lanes = list(summary.lanes.values())
    examples = ", ".join(f"{count} {name}" for name, count in ingested.info.splits.items())
    print(f"{ingested.info.name}: {examples} examples")
    for lane in lanes:
        if lane.differs_from is not None:
            other, differences = lane.differs_from
            print(f"new {lane.modality} feature set {lane.fingerprint}; unlike {other} in:")
            print("\n".join(f"  {line}" for line in differences))
    print(_lanes_table(lanes).text())
    failures = [*ingested.failures, *_failures_of(lanes, ingested)]
    if failures:
        print(_failures_table(failures).text())
    for lane in lanes:
        print(f"wrote {lane.path}")


def _lanes_table(lanes: Sequence[EncodingSummary]) -> Table:
    columns = ["modality", "media", "done before", "encoded", "failed", "seconds", "media/s"]
    return Table(
        "",
        columns,
        [
            [
                lane.modality,
                lane.planned,
                lane.done_before,
                lane.encoded,
                lane.failures,
                round(lane.seconds, 1),
                round(lane.rows_per_second, 1) if lane.encoded else None,
            ]
            for lane in lanes
        ],
        decimals=1,
    )


def _failures_of(lanes: Sequence[EncodingSummary], ingested: Ingested) -> list[Failure]:
    """Return the recorded failures of this dataset's media, of this run and earlier ones."""
    planned = {ref.key for ref in ingested.media}
    return [
        failure
        for lane in lanes
        for failure in FeatureSet.open(lane.path).failures
        if failure.key in planned
    ]


def _failures_table(failures: Sequence[Failure]) -> Table:
    counts = Counter(failure.reason for failure in failures)
    title = ", ".join(f"{count} {reason}" for reason, count in counts.most_common())
    rows = [[one.reason, one.path, one.message] for one in failures[:_FAILURES_SHOWN]]
    if len(failures) > _FAILURES_SHOWN:
        rows.append(["…", "", f"and {len(failures) - _FAILURES_SHOWN} more in failures.jsonl"])
    return Table(f"media that were refused: {title}", ["reason", "medium", "what is wrong"], rows)
