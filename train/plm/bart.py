"""BART, frozen: learned positions and a norm in each segment.

Source: section 3.2 of the paper; https://arxiv.org/abs/1910.13461 for the model.
"""

import torch
from transformers import BartForConditionalGeneration

from .decoder import CrossAttention, EncoderDecoderPLM


class BartPLM(EncoderDecoderPLM):
    """A frozen `BartForConditionalGeneration`; see `PLM`."""

    family = "bart"
    model_class = BartForConditionalGeneration
    tokens_at = "model.encoder.embed_tokens"
    layers_at = "model.encoder.layers"
    norm_at = "model.encoder.layernorm_embedding"

    def positions(self, vectors: torch.Tensor) -> torch.Tensor:
        """Return BART's learned positions 0..L-1, [L, H], for vectors [N, L, H]."""
        return self.model.model.encoder.embed_positions(vectors[..., 0])  # needs the shape only

    @property
    def _crossings(self) -> list[CrossAttention]:
        layers = (layer.encoder_attn for layer in self.model.model.decoder.layers)
        return [CrossAttention(layer.k_proj, layer.v_proj, layer.head_dim) for layer in layers]
