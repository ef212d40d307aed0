"""Encoders and media found again from what the cache says of them, to be run live."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np

from ..cache.examples import Example
from ..cache.keys import file_sha256
from ..cache.modalities import find_modality
from ..cache.store import FeatureSet
from ..errors import MediumError, RunError
from .datasets.media_files import DataFolder, MediumRef
from .encoders import (
    Encoder,
    EncoderOptions,
    decode_of,
    encoder_of,
    live_spec_of,
    load_encoder,
    load_live,
    revision_of,
    sampling_of,
)
from .media import Limits, check_file
from .prepare import prepare_medium

if TYPE_CHECKING:
    from .encoders.built_model import LiveEncoder


def live_encoders(
    device: str, specs: Mapping[str, str] | None = None
) -> Callable[[FeatureSet, str], LiveEncoder]:
    """Return what gives one field of the encoder behind a feature set, a fresh one at each call.

    Behind decoded media it is the encoder that they were decoded for. `specs` says where encoders
    are, by modality, if no longer where the features say.
    """
    loading = Lock()  # a sweep's cells ask side by side, and loading is for one thread at a time

    def load(features: FeatureSet, field: str) -> LiveEncoder:
        manifest = features.manifest
        spec = (specs or {}).get(manifest.modality)
        with loading:
            # refuses other weights or preprocessing than those of the features
            encoder_of(manifest, spec=spec, device=device)
            spec = spec or live_spec_of(manifest)
            revision = revision_of(manifest, spec)
            return load_live(manifest.modality, spec, field=field, device=device, revision=revision)

    return load


def media_decoder(
    folder: Path, specs: Mapping[str, str] | None = None
) -> Callable[[FeatureSet, Example], np.ndarray]:
    """Return what decodes an example's medium again, as the encoder of a feature set takes it.

    What it returns is `[C, H, W]` or `[F, C, H, W]` pixel values from 0 to 255, or `[S]` samples
    from -1 to 1, float32. It raises a `MediumError` where the medium is missing, damaged, over the
    limits or outside the folder, and a `RunError` where it is not what the features were made of.
    """
    decoders: dict[str, Encoder] = {}

    def decode(features: FeatureSet, example: Example) -> np.ndarray:
        modality = features.manifest.modality
        decoder = decoders.get(features.fingerprint) or _decoder(features, specs or {})
        decoders[features.fingerprint] = decoder
        key, relative = example.media.get(modality), example.paths.get(modality)
        if key is None or relative is None:
            raise RunError(f"example {example.id} has no usable {modality} to decode again")
        path = DataFolder(folder).path_of(relative)
        _require_same_bytes(path, key)
        ref = MediumRef(key, path, frozenset({modality}), name=relative)
        prepared = prepare_medium(ref, {modality: decoder}, Limits())[modality]
        if isinstance(prepared, MediumError):
            raise prepared
        return prepared.astype(np.float32) / find_modality(modality).full_scale

    return decode


def _decoder(features: FeatureSet, specs: Mapping[str, str]) -> Encoder:
    """Return what decodes media as a feature set's encoder takes them."""
    manifest = features.manifest
    spec = specs.get(manifest.modality) or live_spec_of(manifest)
    options = EncoderOptions(
        sampling=sampling_of(manifest),
        decode=decode_of(manifest),
        revision=revision_of(manifest, spec),
    )
    field = find_modality(manifest.modality).decoded_field
    return load_encoder(manifest.modality, f"{field}:{spec}", options=options)


def _require_same_bytes(path: Path, key: bytes) -> None:
    check_file(path, limits=Limits())
    if file_sha256(path) != key:
        raise RunError(
            f"{path} is not the file that its features were made of (another sha256), or they are "
            "of a part of it (start_seconds, end_seconds), which explain cannot cut; choose "
            "another example, or extract again"
        )
