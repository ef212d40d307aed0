"""BART, frozen: segment embedding, the encoder's layers under any mask, loss and greedy answers.

Source: section 3.2 of the paper; https://arxiv.org/abs/1910.13461 for the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import BartForConditionalGeneration, DynamicCache, PreTrainedTokenizerBase

from ...pretrained import Pretrained
from ..fusion.sequence import Segment
from .decoder import (
    NOT_SCORED,
    greedy_answers,
    shifted_right,
    summed_losses,
    without_preferences,
)
from .layers import lend, require_positions
from .loading import read_model
from .protocol import CountsWithin, TokenBatch
from .tokens import first_tokens, padded


class BartPLM:
    """A frozen `BartForConditionalGeneration` behind the `PLM` protocol.

    Args:
        model: The model; it is put in evaluation mode and its parameters stop asking for gradients.
        tokenizer: Its tokenizer.
        identity: What the run's record says of the model.
    """

    family = "bart"
    counts_within: CountsWithin = "segment"

    def __init__(
        self,
        model: BartForConditionalGeneration,
        tokenizer: PreTrainedTokenizerBase,
        identity: dict[str, Any] | None = None,
    ) -> None:
        self.model = without_preferences(model.eval().requires_grad_(False))
        self.tokenizer = tokenizer
        self.identity: dict[str, Any] = identity or {}
        self._config: Any = model.config
        self._encoder = model.model.encoder
        self.hidden_size: int = self._config.d_model
        self.max_positions: int | None = self._config.max_position_embeddings

    @classmethod
    def from_checkpoint(
        cls, checkpoint: Pretrained, *, dtype: torch.dtype, device: torch.device
    ) -> BartPLM:
        """Return the model of a checkpoint, read from its safetensors."""
        model, tokenizer, identity = read_model(
            BartForConditionalGeneration, checkpoint, dtype=dtype, device=device
        )
        return cls(model, tokenizer, identity)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.model.device

    @property
    def dtype(self) -> torch.dtype:
        """The weights' dtype."""
        return self.model.dtype

    def tokenise(self, texts: Sequence[str]) -> list[list[int]]:
        """Return each text's ids, `<s> … </s>`, cut to the model's positions."""
        if not texts:
            return []
        return self.tokenizer(list(texts), truncation=True, max_length=self.max_positions).input_ids

    def tokenise_answers(self, answers: Sequence[str]) -> list[list[int]]:
        """Return each answer's ids, `<s> … </s>`."""
        return self.tokenise(answers)

    def answerable(self, answers: Sequence[str], answer_types: Sequence[str | None]) -> list[bool]:  # noqa: ARG002
        """Return True for each answer: the decoder can write any."""
        return [True] * len(answers)

    def pad(self, ids: Sequence[Sequence[int]]) -> TokenBatch:
        """Return ids padded on the right to the longest: [N, T] int64 and bool."""
        return padded(ids, pad_id=self._config.pad_token_id, device=self.device)

    def embed_text(self, ids: torch.Tensor) -> torch.Tensor:
        """Return [N, T, H]: scaled token embeddings, positions from 0, layer norm."""
        return self.embed_segment(self._encoder.embed_tokens(ids))

    def embed_segment(self, vectors: torch.Tensor) -> torch.Tensor:
        """Return [N, L, H] + BART's learned positions 0..L-1, through `layernorm_embedding`.

        Raises:
            PlmError: If the segment is longer than the model has positions.
        """
        return self._encoder.layernorm_embedding(self._with_positions(vectors))

    def segment_norm(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the scale and shift of `layernorm_embedding`, [H] each."""
        norm = self._encoder.layernorm_embedding
        return norm.weight, norm.bias

    def standardise_segment(self, vectors: torch.Tensor) -> torch.Tensor:
        """Return [N, L, H] + positions, each vector to mean 0 and variance 1.

        Raises:
            PlmError: If the segment is longer than the model has positions.
        """
        norm = self._encoder.layernorm_embedding
        return torch.nn.functional.layer_norm(
            self._with_positions(vectors), norm.normalized_shape, eps=norm.eps
        )

    def _with_positions(self, vectors: torch.Tensor) -> torch.Tensor:
        require_positions(vectors.shape[1], self.max_positions)
        positions = self._encoder.embed_positions(vectors[..., 0])  # needs the shape only
        return vectors + positions

    def token_vectors(self) -> torch.Tensor:
        """Return [W, H]: every token's embedding, scaled as the encoder scales it."""
        every_token = torch.arange(self._config.vocab_size, device=self.device)
        return self._encoder.embed_tokens(every_token)

    def encode(self, vectors: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return [N, S, H], the layers' output under the additive mask [N, 1, 1 or S, S]."""
        for layer in self._encoder.layers:
            vectors = layer(vectors, mask)
        return vectors

    def encode_behind_prefix(
        self, prefix: torch.Tensor, vectors: torch.Tensor, mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return [R, P, H] and [N, S, H]: the prefix runs once a run, its keys serve N/R rows."""
        per_run = vectors.shape[0] // prefix.shape[0]
        own, shared = DynamicCache(), DynamicCache()
        for index, layer in enumerate(self._encoder.layers):
            prefix = layer(prefix, None, past_key_values=own)
            lend(own, shared, index, per_run=per_run)
            vectors = layer(vectors, mask, past_key_values=shared)
        return prefix, vectors

    def answer_loss(
        self, fused: Segment, answers: Sequence[Sequence[int]]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return [N] summed cross-entropies over the answer's tokens and `</s>`, and [N] counts.

        Neither padding nor the forced `<s>` that every answer begins with is scored.
        """
        batch = self.pad(answers)
        lead = batch.ids == self._config.bos_token_id
        labels = batch.ids.masked_fill(~batch.present | lead, NOT_SCORED)
        start = self._config.decoder_start_token_id
        decoded = self._decode(shifted_right(batch.ids, start_id=start), fused)
        return summed_losses(self.model.lm_head(decoded) + self.model.final_logits_bias, labels)

    def label_logits(self, fused: Segment, label_ids: torch.Tensor) -> torch.Tensor:
        """Return [N, C]: logits of the label words after `</s><s>`; no weight is touched.

        Source: the released code's verbaliser, without its writes into tied weights.
        """
        lead = [self._config.decoder_start_token_id, *self._forced_start()]
        ids = torch.tensor(lead, device=self.device).expand(fused.vectors.shape[0], -1)
        decoded = self._decode(ids, fused)[:, -1]
        weight, bias = self.model.lm_head.weight, self.model.final_logits_bias[0]
        return (decoded @ weight[label_ids].T + bias[label_ids]).float()

    def label_ids(self, labels: Sequence[str]) -> torch.Tensor:
        """Return each label's first token id [C], without a leading space.

        Raises:
            PlmError: If two labels begin with the same token.
        """
        return first_tokens(self.tokenizer, labels, device=self.device)

    def generate(self, fused: Segment, *, max_new_tokens: int) -> list[str]:
        """Return greedy answers of at most so many tokens, `</s>` not counted."""
        return greedy_answers(
            self.model,
            self.tokenizer,
            fused,
            start_id=self._config.decoder_start_token_id,
            max_new_tokens=max_new_tokens,
            forced_first=next(iter(self._forced_start()), None),
        )

    def _decode(self, ids: torch.Tensor, fused: Segment) -> torch.Tensor:
        return self.model.model.decoder(
            input_ids=ids,
            encoder_hidden_states=fused.vectors,
            encoder_attention_mask=fused.present.long(),
            use_cache=False,
        ).last_hidden_state

    def _forced_start(self) -> list[int]:
        """Return the tokens between the decoder's start and the answer: `<s>` in BART."""
        start: int = self._config.bos_token_id
        return [start] if self.tokenizer("").input_ids[:1] == [start] else []
