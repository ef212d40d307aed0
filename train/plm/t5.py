"""T5, frozen: relative positions over the whole fused sequence.

T5 adds neither positions nor a norm to what it is fed; each layer's attention is biased by how far
apart two positions are, counted over `[prompt ; visual ; audio ; text]`. So the order of segments
matters here. Source: section 3.2 of the paper; https://arxiv.org/abs/1910.10683 for the model.
"""

from collections.abc import Iterator

import torch
from transformers import DynamicCache, T5ForConditionalGeneration

from .decoder import CrossAttention, DecoderRows, EncoderDecoderPLM
from .frozen import CountsWithin


class T5PLM(EncoderDecoderPLM):
    """A frozen `T5ForConditionalGeneration`; see `PLM`."""

    family = "t5"
    model_class = T5ForConditionalGeneration
    tokens_at = "encoder.embed_tokens"
    layers_at = "encoder.block"
    overflows_in = (torch.float16,)
    counts_within: CountsWithin = "sequence"

    def _through(
        self, vectors: torch.Tensor, mask: torch.Tensor | None, cache: DynamicCache | None = None
    ) -> Iterator[torch.Tensor]:
        """Yield the vectors [N, L, H] after each block.

        The first counts relative positions over the L vectors and the keys that were lent before
        them, so that a prefix has 0..P-1 and what follows P onwards; the others reuse its bias.
        """
        bias = None
        for block in self.layers:
            vectors, bias, _ = block(vectors, mask, bias, past_key_values=cache)
            yield vectors

    def _finished(self, hidden: torch.Tensor) -> torch.Tensor:
        return self.model.encoder.final_layer_norm(hidden)

    @property
    def _crossings(self) -> list[CrossAttention]:
        layers = (block.layer[1].EncDecAttention for block in self.model.decoder.block)
        return [CrossAttention(layer.k, layer.v, layer.key_value_proj_dim) for layer in layers]

    def _decode(self, ids: torch.Tensor, rows: DecoderRows) -> torch.Tensor:
        """Return [N, T, H], scaled by H ** -0.5 where the head was trained tied to the embeddings.

        T5 1.1 was not, and does not scale.
        """
        decoded = super()._decode(ids, rows)
        scaled = self.model.config.scale_decoder_outputs
        return decoded * self.hidden_size**-0.5 if scaled else decoded
