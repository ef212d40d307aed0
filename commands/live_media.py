"""An example's media decoded again, and the encoders of their features, live."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..cache.decoded import DECODED_FIELDS, FULL_SCALE
from ..cache.examples import Example
from ..cache.keys import file_sha256
from ..errors import MediumError, MediumMissing, MediumOutside, RunError
from ..extract.datasets.ingest import MediumRef
from ..extract.encoders import Encoder, EncoderOptions, encoder_of, load_encoder, load_live, spec_of
from ..extract.media import FrameSampling, Limits, check_file
from ..extract.pipeline import prepare_medium
from ..train.data import Source
from ..train.explain.attribution import LiveMedium

_AGREES = 2e-2
"""How far a live encoder's vectors may lie from the cached ones, against their size: float16
storage and other batches make 1e-3, bfloat16 computation 1e-2."""


@dataclass(frozen=True)
class LiveSource:
    """A modality's features, with what makes them anew.

    Attributes:
        source: The features as they are fed in.
        decoder: Gives pixels or samples as the encoder takes them.
        encoder: The live encoder.
    """

    source: Source
    decoder: Encoder
    encoder: Any


def open_live(source: Source, *, spec: str | None = None, device: str) -> LiveSource:
    """Return a modality's decoder and live encoder.

    Args:
        source: The features as they are fed in.
        spec: Where the encoder is now, if no longer where the features say.
        device: Where it runs.

    Raises:
        EncoderError: If the encoder is not there or would make other features.
    """
    manifest, modality = source.features.manifest, source.modality
    # refuses other weights or preprocessing than the cache's
    encoder_of(manifest, spec=spec, device=device)
    spec = spec or spec_of(manifest)
    sampling = manifest.identity.get("sampling")
    options = EncoderOptions(device=device, revision=manifest.identity.get("revision"))
    if isinstance(sampling, Mapping):
        options = EncoderOptions(
            device=device, revision=options.revision, sampling=FrameSampling(**sampling)
        )
    decoder = load_encoder(modality, f"{DECODED_FIELDS[modality]}:{spec}", options=options)  # pyright: ignore[reportArgumentType]
    live = load_live(modality, spec, field=source.field, device=device)  # pyright: ignore[reportArgumentType]
    return LiveSource(source, decoder, live)


def read_media(example: Example, live: list[LiveSource], folder: Path) -> list[LiveMedium]:
    """Return an example's media, decoded from the dataset's folder, with their encoders.

    Raises:
        MediumError: If one is missing, damaged, over the limits or outside the folder.
        RunError: If one is not what its features were made of.
    """
    return [_medium(example, one, folder) for one in live]


def _medium(example: Example, live: LiveSource, folder: Path) -> LiveMedium:
    import torch

    modality = live.source.modality
    key, relative = example.media.get(modality), example.paths.get(modality)
    if key is None or relative is None:
        raise RunError(f"example {example.id} has no usable {modality} to explain")
    path = path_within(folder, relative)
    _require_same_bytes(path, key)
    ref = MediumRef(key, path, frozenset({modality}), name=relative)
    prepared = prepare_medium(ref, {modality: live.decoder}, Limits())[modality]
    if isinstance(prepared, MediumError):
        raise prepared
    decoded = torch.from_numpy(prepared.astype(np.float32))
    medium = LiveMedium(
        modality,
        live.encoder,
        decoded / FULL_SCALE if modality == "audio" else decoded,
        live.source.width,
    )
    require_agreement(medium, live.source, key, example.id)
    return medium


def path_within(folder: Path, relative: str) -> Path:
    """Return a medium's path, known to lie in the dataset's folder, links followed.

    Raises:
        MediumOutside: If it leads out.
        MediumMissing: If its name cannot be a file's.
    """
    try:
        real, root = os.path.realpath(folder / relative), os.path.realpath(folder)
    except ValueError as error:  # a NUL byte in the name
        raise MediumMissing(f"{relative!r}: {error}") from error
    if os.path.commonpath([real, root]) != root:
        raise MediumOutside(f"{folder / relative}: leads outside the data folder")
    return Path(real)


def _require_same_bytes(path: Path, key: bytes) -> None:
    check_file(path, limits=Limits())
    if file_sha256(path) != key:
        raise RunError(
            f"{path} is not the file that its features were made of (another sha256), or they are "
            "of a part of it (start_seconds, end_seconds), which explain cannot cut; choose "
            "another example, or extract again"
        )


def require_agreement(medium: LiveMedium, source: Source, key: bytes, example: str) -> None:
    """Return if the live encoder makes the cached vectors of a medium.

    Raises:
        RunError: If they differ by more than rounding does.
    """
    import torch

    with torch.no_grad():
        made = medium.vectors(medium.decoded[None])[0].cpu().numpy()
    cached = np.asarray(source.features.read([key], source.field).values, dtype=np.float32)
    if made.size == cached.size:
        apart = float(np.linalg.norm(made.ravel() - cached.ravel()) / np.linalg.norm(cached))
        if apart <= _AGREES:
            return
        found = f"are {100 * apart:.1f} % apart"
    else:
        found = f"have {made.size} and {cached.size} numbers"
    raise RunError(
        f"the live {source.modality} encoder {medium.encoder.id!r} and the cached features "
        f"{source.features.fingerprint} of example {example} {found}; extract them again"
    )
