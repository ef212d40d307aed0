"""The encoders that training runs live, found again from the decoded media in the cache."""

from __future__ import annotations

from threading import Lock

from .cache.store import FeatureSet
from .train.live import LoadLive, TrainableEncoder


def live_encoders(device: str) -> LoadLive:
    """Return what gives the encoder of a set of decoded media, a fresh one at each call.

    Args:
        device: Where it runs: the language model's.
    """
    loading = Lock()  # a sweep's cells ask side by side, and loading is for one thread at a time

    def load(features: FeatureSet, field: str) -> TrainableEncoder:
        from .extract.encoders import encoder_of, live_spec_of, load_live

        manifest = features.manifest
        with loading:
            encoder_of(manifest)  # refuses one that would now take other pixels or samples
            modality = manifest.modality
            return load_live(modality, live_spec_of(manifest), field=field, device=device)  # pyright: ignore[reportArgumentType]

    return load
