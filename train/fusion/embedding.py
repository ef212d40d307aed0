"""From an encoder's vectors, or a prompt's, to a segment as the language model embeds one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from ...errors import PlmError
from ..plm.protocol import PLM, NormedSegments
from .layers import run_linear, run_scale

Layer = tuple[torch.Tensor, torch.Tensor]
"""Weight and bias with a leading run dimension."""


@dataclass(frozen=True, slots=True)
class SegmentEmbedding:
    """Raw vectors → projection → positions → layer norm.

    Attributes:
        plm: The frozen language model.
        projection: A trained layer H → H, or None.
        norm: A trained scale and shift in place of the language model's own, or None.
    """

    plm: PLM
    projection: Layer | None = None
    norm: Layer | None = None

    @classmethod
    def of(cls, plm: PLM, parameters: Mapping[str, torch.Tensor], segment: str) -> SegmentEmbedding:
        """Return the embedding of `segment`, "prompt" or a modality, under `parameters`."""
        projection = _layer(parameters, "projection") if segment != "prompt" else None
        return cls(plm, projection, _layer(parameters, f"norm.{segment}"))

    def __call__(self, vectors: torch.Tensor) -> torch.Tensor:
        """Return the embedded segment [N, L, H] of raw vectors [N, L, H], rows grouped by run."""
        if self.projection is not None:
            vectors = run_linear(vectors, *self.projection)
        if self.norm is None:
            return self.plm.embed_segment(vectors)
        return run_scale(standardise(self.plm, vectors), *self.norm)


def standardise(plm: PLM, vectors: torch.Tensor) -> torch.Tensor:
    """Return [N, L, H] with positions and norm, before the norm's scale and shift.

    Raises:
        PlmError: If the language model's segments have no norm.
    """
    if not isinstance(plm, NormedSegments):
        raise PlmError(f"{plm.family} puts no layer norm on its embedded segments")
    return plm.standardise_segment(vectors)


def _layer(parameters: Mapping[str, torch.Tensor], name: str) -> Layer | None:
    weight = parameters.get(f"{name}.weight")
    return None if weight is None else (weight, parameters[f"{name}.bias"])
