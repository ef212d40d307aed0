"""What a cache holds, as plain values to print."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from .commits import Failure
from .examples import DatasetInfo, read_datasets, read_examples, read_failures
from .store import FeatureSet, feature_sets


@dataclass(frozen=True)
class Coverage:
    """How much of a split's media a feature set has.

    Attributes:
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
class DatasetSummary:
    """One dataset: what is encoded of each split's media, and how many failed, by reason."""

    info: DatasetInfo
    splits: Mapping[str, tuple[Coverage, ...]]
    failures: Mapping[str, int]


@dataclass(frozen=True)
class CacheSummary:
    """All that a cache holds."""

    feature_sets: tuple[FeatureSet, ...]
    datasets: tuple[DatasetSummary, ...]


def summarise(cache_root: PurePath) -> CacheSummary:
    """Return what a cache holds; an empty or absent folder gives an empty summary."""
    sets = feature_sets(cache_root)
    datasets = [_summarise(cache_root, info, sets) for info in read_datasets(cache_root)]
    return CacheSummary(tuple(sets), tuple(datasets))


def count_reasons(failures: Sequence[Failure]) -> dict[str, int]:
    """Return the number of failures by reason, in alphabetical order."""
    reasons = sorted(failure.reason for failure in failures)
    return {reason: reasons.count(reason) for reason in dict.fromkeys(reasons)}


def coverage(features: FeatureSet | None, modality: str, keys: Sequence[bytes | None]) -> Coverage:
    """Return how much of some examples' media a feature set has; None is no key, or no set."""
    wanted = [key for key in keys if key is not None]
    unique = sorted(set(wanted))
    if features is None:
        return Coverage(modality, None, len(unique), 0, 0, 0)
    covered = {key for key, row in zip(unique, features.find(unique), strict=True) if row >= 0}
    failed = {failure.key for failure in features.failures}
    return Coverage(
        modality=modality,
        fingerprint=features.fingerprint,
        media=len(unique),
        covered=len(covered),
        failed=len(failed.intersection(unique)),
        examples_covered=sum(key in covered for key in wanted),
    )


def _summarise(
    cache_root: PurePath, info: DatasetInfo, sets: Sequence[FeatureSet]
) -> DatasetSummary:
    splits: dict[str, tuple[Coverage, ...]] = {}
    for split in info.splits:
        table = read_examples(cache_root, info.name, split)
        splits[split] = tuple(
            coverage(features, modality, table.keys(modality))
            for modality in info.modalities
            for features in [held for held in sets if held.modality == modality] or [None]
        )
    return DatasetSummary(info, splits, count_reasons(read_failures(cache_root, info.name)))
