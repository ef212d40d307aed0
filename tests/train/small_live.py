"""Small caches of decoded media, and small encoders that run live on them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from promptfuse.cache.keys import BLANK_KEY
from promptfuse.cache.manifest import FieldSpec, Manifest
from promptfuse.cache.store import FeatureSet, FeatureWriter
from promptfuse.train.live import TrainableEncoder

from .small_cache import WIDTH, key_of

SIDE = 4
FIELDS = {
    "image": FieldSpec("pixels", "uint8", (3, SIDE, SIDE)),
    "video": FieldSpec("pixels", "uint8", (3, SIDE, SIDE), ragged=True),
    "audio": FieldSpec("samples", "int16", (), ragged=True),
}


def write_decoded(cache: Path, modality: str, names: list[str], *, encoder: str = "small") -> str:
    """Write one row of noise a name and the blank one; return the fingerprint."""
    spec = FIELDS[modality]
    made = Manifest(modality, {"family": spec.name, "id": encoder}, (spec,))
    random = np.random.default_rng(len(modality))
    with FeatureWriter(cache, made) as writer:
        for key in (BLANK_KEY, *map(key_of, names)):
            steps = int(random.integers(1, 4)) * (1 if modality == "video" else 8)
            shape = (steps, *spec.shape) if spec.ragged else spec.shape
            limits = np.iinfo(spec.dtype)
            row = random.integers(limits.min, limits.max, shape, endpoint=True)
            blank = np.zeros(shape, spec.dtype)
            writer.append(key, {spec.name: blank if key == BLANK_KEY else row.astype(spec.dtype)})
    return made.fingerprint


class SmallEncoder:
    """One layer and tanh over all pixels, or over each eight samples.

    Attributes:
        batches: The shape of each batch that it was given.
    """

    id = "small"

    def __init__(self, inputs: int, field: str, width: int = WIDTH, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.field, self.width = field, width
        self.batches: list[tuple[int, ...]] = []
        self._weights = {
            "layer.weight": torch.randn(width, inputs, generator=generator) / inputs**0.5,
            "layer.bias": torch.zeros(width),
            "never.used": torch.ones(2),
        }

    def weights(self) -> dict[str, torch.Tensor]:
        return dict(self._weights)

    def __call__(
        self, decoded: torch.Tensor, weights: Mapping[str, torch.Tensor] | None = None
    ) -> torch.Tensor:
        self.batches.append(tuple(decoded.shape))
        own = {**self._weights, **(weights or {})}
        if decoded.dim() == 4:
            rows = decoded.flatten(1) / 255
            if self.field == "sequence":
                rows = torch.stack([rows, rows.flip(1)], dim=1)
        else:
            rows = decoded.unflatten(1, (-1, 8))
        return (rows @ own["layer.weight"].T + own["layer.bias"]).tanh()


class LiveEncoders:
    """Gives a fresh encoder at each call, and keeps it for a look.

    Attributes:
        made: The encoders so far.
    """

    def __init__(self, width: int = WIDTH, seed: int = 0) -> None:
        self._width, self._seed = width, seed
        self.made: list[SmallEncoder] = []

    def __call__(self, features: FeatureSet, field: str) -> TrainableEncoder:
        inputs = 8 if features.modality == "audio" else 3 * SIDE * SIDE
        self.made.append(SmallEncoder(inputs, field, self._width, self._seed))
        return self.made[-1]
