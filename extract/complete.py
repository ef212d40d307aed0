"""Further media for feature sets that exist: encoded as the rest were, each only once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..cache.commits import Failure
from ..cache.manifest import MANIFEST_NAME, Manifest
from ..cache.store import FeatureSet, feature_set_path
from .datasets.ingest import MediumRef
from .encoders import Encoder, encoder_of
from .pipeline import extract_features


@dataclass(frozen=True)
class Completed:
    """One modality's features, with the media that were asked for.

    Attributes:
        features: The feature set.
        there: How many of the media were encoded before.
        encoded: How many were encoded now.
        failures: Those that could not be encoded, now or before, by key.
    """

    features: FeatureSet
    there: int
    encoded: int
    failures: Mapping[bytes, Failure]


def complete_features(
    media: Sequence[MediumRef],
    manifests: Mapping[str, Manifest],
    cache_root: Path,
    *,
    specs: Mapping[str, str],
    device: str = "auto",
) -> dict[str, Completed]:
    """Return each modality's feature set, holding the media; what it lacked was encoded.

    No encoder is looked for where nothing is missing.

    Args:
        media: Unique; each is encoded for those of its modalities that are in `manifests`.
        manifests: What made each modality's features.
        cache_root: The cache's folder.
        specs: Where encoders are, by modality, if not where the manifests say.
        device: Where encoders run.
    """
    keys = {name: [ref.key for ref in media if name in ref.modalities] for name in manifests}
    before: dict[str, set[bytes]] = {}
    encoders: dict[str, Encoder] = {}
    for name, manifest in manifests.items():
        path = _path(cache_root, manifest)
        features = FeatureSet.open(path) if (path / MANIFEST_NAME).exists() else None
        before[name] = {*features.keys, *_failures(features)} if features else set()
        if not before[name].issuperset(keys[name]):
            here = features.manifest if features else manifest  # knows where its encoder is
            encoders[name] = encoder_of(here, spec=specs.get(name), device=device)
    if encoders:
        extract_features(media, encoders, cache_root)
    return {
        name: _completed(FeatureSet.open(_path(cache_root, manifests[name])), wanted, before[name])
        for name, wanted in keys.items()
        if wanted
    }


def _completed(features: FeatureSet, wanted: Sequence[bytes], before: set[bytes]) -> Completed:
    failed = _failures(features)
    failures = {key: failed[key] for key in wanted if key in failed}
    rows = set(wanted) - failures.keys()
    return Completed(features, len(rows & before), len(rows - before), failures)


def _failures(features: FeatureSet) -> dict[bytes, Failure]:
    return {failure.key: failure for failure in features.failures if failure.key is not None}


def _path(cache_root: Path, manifest: Manifest) -> Path:
    return feature_set_path(cache_root, manifest.modality, manifest.fingerprint)
