"""BART, frozen: learned positions and a norm in each segment.

Source: section 3.2 of the paper; https://arxiv.org/abs/1910.13461 for the model.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from transformers import BartForConditionalGeneration

from .decoder import EncoderDecoderPLM


class BartPLM(EncoderDecoderPLM):
    """A frozen `BartForConditionalGeneration` behind the `PLM` protocol; see `FrozenPLM`."""

    family = "bart"
    model_class = BartForConditionalGeneration

    @property
    def layers(self) -> Sequence[torch.nn.Module]:
        """The encoder's layers."""
        return self.model.model.encoder.layers

    @property
    def segment_norm(self) -> torch.nn.LayerNorm:
        """The norm that follows the positions, `layernorm_embedding`."""
        return self.model.model.encoder.layernorm_embedding

    def positions(self, vectors: torch.Tensor) -> torch.Tensor:
        """Return BART's learned positions 0..L-1, [L, H], for vectors [N, L, H]."""
        return self.model.model.encoder.embed_positions(vectors[..., 0])  # needs the shape only
