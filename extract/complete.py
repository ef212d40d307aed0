"""Further media for feature sets that exist: encoded as the rest were, each only once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath

import numpy as np

from ..cache.commits import Failure
from ..cache.manifest import Manifest
from ..cache.store import FeatureSet, FeatureWriter, feature_set_path, feature_sets
from .datasets.ingest import MediumRef
from .encoders import Encoder, encoder_of
from .pipeline import extract_features

#: The store, below the cache's folder, of what was encoded to be asked about.
ASKED = "asked"


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
    cache_root: PurePath,
    *,
    specs: Mapping[str, str],
    device: str = "auto",
) -> dict[str, Completed]:
    """Return each modality's features of the media; what no set holds was encoded.

    The sets that are trained on are only read. What they lack goes into a store of its own, below
    `asked` in the cache's folder, beside a copy of what they hold of these media. No encoder is
    looked for where nothing is missing.

    Args:
        media: Unique; each is encoded for those of its modalities that are in `manifests`.
        manifests: What made each modality's features.
        cache_root: The cache's folder.
        specs: Where encoders are, by modality, if not where the manifests say.
        device: Where encoders run.
    """
    store = cache_root / ASKED
    keys = {name: [ref.key for ref in media if name in ref.modalities] for name in manifests}
    features: dict[str, FeatureSet] = {}
    before: dict[str, set[bytes]] = {}
    encoders: dict[str, Encoder] = {}
    for name, manifest in manifests.items():
        held = _find(cache_root, manifest)
        if held is not None and _known(held).issuperset(keys[name]):
            features[name], before[name] = held, _known(held)
            continue
        here = held.manifest if held else manifest  # knows where its encoder is
        before[name] = _copy(held, store, here, keys[name])
        if not before[name].issuperset(keys[name]):
            encoders[name] = encoder_of(here, spec=specs.get(name), device=device)
    if encoders:
        extract_features(media, encoders, store)
    for name in keys.keys() - features.keys():
        if keys[name]:
            features[name] = FeatureSet.open(_path(store, manifests[name]))
    return {
        name: _completed(features[name], wanted, before[name])
        for name, wanted in keys.items()
        if wanted
    }


def _find(cache_root: PurePath, manifest: Manifest) -> FeatureSet | None:
    sets = feature_sets(cache_root, manifest.modality)
    return next((held for held in sets if held.fingerprint == manifest.fingerprint), None)


def _copy(
    held: FeatureSet | None, store: PurePath, manifest: Manifest, wanted: Sequence[bytes]
) -> set[bytes]:
    """Return the media that the store knows, those of a set that is trained on among them."""
    with FeatureWriter(store, manifest) as writer:
        if held is not None:
            known, failed = _known(held), _failures(held)
            for key in [key for key in wanted if key in known and key not in writer.done]:
                if key in failed:
                    writer.fail(failed[key])
                else:
                    writer.append(key, _row(held, key))
        writer.commit()
        return set(writer.done)


def _row(held: FeatureSet, key: bytes) -> dict[str, np.ndarray]:
    """Return one row as a writer takes it."""
    fields = {spec.name: held.read([key], spec.name).values for spec in held.manifest.fields}
    ragged = {spec.name for spec in held.manifest.fields if spec.ragged}
    return {name: values if name in ragged else values[0] for name, values in fields.items()}


def _completed(features: FeatureSet, wanted: Sequence[bytes], before: set[bytes]) -> Completed:
    failed = _failures(features)
    failures = {key: failed[key] for key in wanted if key in failed}
    rows = set(wanted) - failures.keys()
    return Completed(features, len(rows & before), len(rows - before), failures)


def _known(features: FeatureSet) -> set[bytes]:
    return {*features.keys, *_failures(features)}


def _failures(features: FeatureSet) -> dict[bytes, Failure]:
    return {failure.key: failure for failure in features.failures if failure.key is not None}


def _path(cache_root: PurePath, manifest: Manifest) -> PurePath:
    return feature_set_path(cache_root, manifest.modality, manifest.fingerprint)
