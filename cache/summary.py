"""What a cache holds, as plain values to print."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .backends import format_of
from .commits import Failure
from .decoded import is_decoded
from .examples import DatasetInfo, read_datasets, read_examples, read_failures
from .keys import KEY_BYTES
from .manifest import FieldSpec, Manifest
from .store import FeatureSet, feature_sets


@dataclass(frozen=True)
class FieldSummary:
    """One field of a feature set.

    Attributes:
        spec: Its name, dtype and shape.
        steps: How many vectors (arrays of `spec.shape`) all rows have together.
        payload_bytes: The size of its values.
    """

    spec: FieldSpec
    steps: int
    payload_bytes: int


@dataclass(frozen=True)
class FeatureSetSummary:
    """One feature set.

    Attributes:
        path: Its folder.
        modality: A name in `MODALITIES`.
        fingerprint: The hash of what made it.
        encoder: The encoder's id, after `pixels:` or `samples:` where the media are decoded for it.
        rows: How many media are encoded (the blank one included).
        fields: What each row holds.
        formats: Of its shards.
        shards: How many files.
        payload_bytes: Values, offsets and keys, as arrays.
        disk_bytes: The size of its shards' files.
        failures: How many media failed, by reason.
    """

    path: Path
    modality: str
    fingerprint: str
    encoder: str
    rows: int
    fields: tuple[FieldSummary, ...]
    formats: tuple[str, ...]
    shards: int
    payload_bytes: int
    disk_bytes: int
    failures: Mapping[str, int]


@dataclass(frozen=True)
class Coverage:
    """How much of a split's media a feature set has.

    Attributes:
        modality: A name in `MODALITIES`.
        fingerprint: Of the feature set, or None where the cache has none of this modality.
        media: The number of different media that the split's examples have.
        covered: How many of these the feature set has rows for.
        failed: How many of these it records as failures.
        examples_covered: The number of examples whose medium has a row.
    """

    modality: str
    fingerprint: str | None
    media: int
    covered: int
    failed: int
    examples_covered: int


@dataclass(frozen=True)
class SplitSummary:
    """One split of a dataset: its number of examples, and what is encoded of their media."""

    name: str
    examples: int
    coverage: tuple[Coverage, ...]


@dataclass(frozen=True)
class DatasetSummary:
    """One dataset: what it is, its splits, and how many media failed, by reason."""

    info: DatasetInfo
    splits: tuple[SplitSummary, ...]
    failures: Mapping[str, int]


@dataclass(frozen=True)
class CacheSummary:
    """All that a cache holds."""

    path: Path
    feature_sets: tuple[FeatureSetSummary, ...]
    datasets: tuple[DatasetSummary, ...]


def summarise(cache_root: Path) -> CacheSummary:
    """Return what a cache holds; an empty or absent folder gives an empty summary."""
    features = feature_sets(cache_root)
    return CacheSummary(
        path=Path(cache_root),
        feature_sets=tuple(map(summarise_features, features)),
        datasets=tuple(
            _summarise_dataset(cache_root, info, features) for info in read_datasets(cache_root)
        ),
    )


def summarise_features(features: FeatureSet) -> FeatureSetSummary:
    """Return the summary of one feature set."""
    fields = tuple(_summarise_field(features, spec) for spec in features.manifest.fields)
    files = [commit.file for commit in features.commits if commit.file is not None]
    ragged = sum(spec.ragged for spec in features.manifest.fields)
    offsets_bytes = 8 * ragged * (len(features) + len(files))
    payload_bytes = sum(field.payload_bytes for field in fields)
    return FeatureSetSummary(
        path=features.path,
        modality=features.modality,
        fingerprint=features.fingerprint,
        encoder=_encoder_name(features.manifest),
        rows=len(features),
        fields=fields,
        formats=tuple(sorted({format_of(file) for file in files})),
        shards=len(files),
        payload_bytes=payload_bytes + offsets_bytes + KEY_BYTES * len(features),
        disk_bytes=features.size_bytes,
        failures=count_reasons(features.failures),
    )


def count_reasons(failures: Sequence[Failure]) -> dict[str, int]:
    """Return the number of failures by reason, in alphabetical order."""
    reasons = sorted(failure.reason for failure in failures)
    return {reason: reasons.count(reason) for reason in dict.fromkeys(reasons)}


def coverage(features: FeatureSet | None, modality: str, keys: Sequence[bytes | None]) -> Coverage:
    """Return how much of some examples' media a feature set has.

    Args:
        features: The feature set, or None where there is none.
        modality: Of the media.
        keys: The key of each example's medium, None where it has none.
    """
    wanted = [key for key in keys if key is not None]
    unique = sorted(set(wanted))
    if features is None:
        return Coverage(modality, None, len(unique), 0, 0, 0)
    found = {key for key, row in zip(unique, features.find(unique), strict=True) if row >= 0}
    failed = {failure.key for failure in features.failures}
    return Coverage(
        modality=modality,
        fingerprint=features.fingerprint,
        media=len(unique),
        covered=len(found),
        failed=len(failed.intersection(unique)),
        examples_covered=sum(key in found for key in wanted),
    )


def _encoder_name(manifest: Manifest) -> str:
    name = str(manifest.identity.get("id", "unknown"))
    return f"{manifest.fields[0].name}:{name}" if is_decoded(manifest) else name


def _summarise_field(features: FeatureSet, spec: FieldSpec) -> FieldSummary:
    steps = features.count_steps(spec.name)
    return FieldSummary(spec=spec, steps=steps, payload_bytes=steps * spec.step_bytes)


def _summarise_dataset(
    cache_root: Path, info: DatasetInfo, features: Sequence[FeatureSet]
) -> DatasetSummary:
    return DatasetSummary(
        info=info,
        splits=tuple(_summarise_split(cache_root, info, split, features) for split in info.splits),
        failures=count_reasons(read_failures(cache_root, info.name)),
    )


def _summarise_split(
    cache_root: Path, info: DatasetInfo, split: str, features: Sequence[FeatureSet]
) -> SplitSummary:
    table = read_examples(cache_root, info.name, split)
    parts: list[Coverage] = []
    for modality in info.modalities:
        sets = [one for one in features if one.modality == modality] or [None]
        parts.extend(coverage(one, modality, table.keys(modality)) for one in sets)
    return SplitSummary(name=split, examples=len(table), coverage=tuple(parts))
