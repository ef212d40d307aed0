"""T5, frozen: relative positions over the whole fused sequence, loss and greedy answers.

T5 adds neither positions nor a norm to what it is fed; each layer's attention is biased by how far
apart two positions are, counted over `[prompt ; visual ; audio ; text]`. So the order of segments
matters here. Source: section 3.2 of the paper; https://arxiv.org/abs/1910.10683 for the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import DynamicCache, PreTrainedTokenizerBase, T5ForConditionalGeneration

from ...errors import PlmError
from ...pretrained import Pretrained
from ..fusion.sequence import Segment
from .decoder import (
    NOT_SCORED,
    greedy_answers,
    shifted_right,
    summed_losses,
    without_preferences,
)
from .layers import lend
from .loading import read_model
from .protocol import CountsWithin, TokenBatch
from .tokens import first_tokens, padded


class T5PLM:
    """A frozen `T5ForConditionalGeneration` behind the `PLM` protocol.

    Args:
        model: The model; it is put in evaluation mode and its parameters stop asking for gradients.
        tokenizer: Its tokenizer.
        identity: What the run's record says of the model.

    Raises:
        PlmError: If the model is in float16, which T5's activations overflow.
    """

    family = "t5"
    counts_within: CountsWithin = "sequence"
    max_positions: int | None = None

    def __init__(
        self,
        model: T5ForConditionalGeneration,
        tokenizer: PreTrainedTokenizerBase,
        identity: dict[str, Any] | None = None,
    ) -> None:
        _refuse_float16(model.dtype)
        self.model = without_preferences(model.eval().requires_grad_(False))
        self.tokenizer = tokenizer
        self.identity: dict[str, Any] = identity or {}
        self._config: Any = model.config
        self._encoder: Any = model.encoder
        self.hidden_size: int = self._config.d_model

    @classmethod
    def from_checkpoint(
        cls, checkpoint: Pretrained, *, dtype: torch.dtype, device: torch.device
    ) -> T5PLM:
        """Return the model of a checkpoint, read from its safetensors."""
        _refuse_float16(dtype)
        model, tokenizer, identity = read_model(
            T5ForConditionalGeneration, checkpoint, dtype=dtype, device=device
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
        """Return each text's ids, `… </s>`, however long: relative positions have no end."""
        return self.tokenizer(list(texts)).input_ids if texts else []

    def tokenise_answers(self, answers: Sequence[str]) -> list[list[int]]:
        """Return each answer's ids, `… </s>`."""
        return self.tokenise(answers)

    def answerable(self, answers: Sequence[str], answer_types: Sequence[str | None]) -> list[bool]:  # noqa: ARG002
        """Return True for each answer: the decoder can write any."""
        return [True] * len(answers)

    def pad(self, ids: Sequence[Sequence[int]]) -> TokenBatch:
        """Return ids padded on the right to the longest: [N, T] int64 and bool."""
        return padded(ids, pad_id=self._config.pad_token_id, device=self.device)

    def embed_text(self, ids: torch.Tensor) -> torch.Tensor:
        """Return [N, T, H]: token embeddings, which T5 does not scale."""
        return self._encoder.embed_tokens(ids)

    def embed_segment(self, vectors: torch.Tensor) -> torch.Tensor:
        """Return the vectors [N, L, H] unchanged: T5 has no positions or norm to add."""
        return vectors

    def token_vectors(self) -> torch.Tensor:
        """Return [W, H]: every token's embedding."""
        return self._encoder.embed_tokens.weight

    def encode(self, vectors: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return [N, S, H], the stack's output under the additive mask [N, 1, 1 or S, S].

        The first block counts relative positions over the S vectors; the others reuse its bias.
        """
        bias = None
        for block in self._encoder.block:
            vectors, bias, _ = block(vectors, mask, bias)
        return self._encoder.final_layer_norm(vectors)

    def encode_behind_prefix(
        self, prefix: torch.Tensor, vectors: torch.Tensor, mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return [R, P, H] and [N, S, H]: the prefix runs once a run, its keys serve N/R rows.

        The prefix has positions 0..P-1 and the inputs P..P+S-1: the first block counts the keys
        that were lent, so its bias over all P + S keys starts at the inputs' own rows.
        """
        per_run = vectors.shape[0] // prefix.shape[0]
        own, shared = DynamicCache(), DynamicCache()
        prefix_bias = bias = None
        for index, block in enumerate(self._encoder.block):
            prefix, prefix_bias, _ = block(prefix, None, prefix_bias, past_key_values=own)
            lend(own, shared, index, per_run=per_run)
            vectors, bias, _ = block(vectors, mask, bias, past_key_values=shared)
        norm = self._encoder.final_layer_norm
        return norm(prefix), norm(vectors)

    def answer_loss(
        self, fused: Segment, answers: Sequence[Sequence[int]]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return [N] summed cross-entropies over the answer's tokens and `</s>`, and [N] counts."""
        batch = self.pad(answers)
        labels = batch.ids.masked_fill(~batch.present, NOT_SCORED)
        decoded = self._decode(shifted_right(batch.ids, start_id=self._start_id), fused)
        return summed_losses(self.model.lm_head(decoded), labels)

    def label_logits(self, fused: Segment, label_ids: torch.Tensor) -> torch.Tensor:
        """Return [N, C]: logits of the label words as the answer's first token."""
        start = torch.full((fused.vectors.shape[0], 1), self._start_id, device=self.device)
        return (self._decode(start, fused)[:, -1] @ self.model.lm_head.weight[label_ids].T).float()

    def label_ids(self, labels: Sequence[str]) -> torch.Tensor:
        """Return each label's first token id [C].

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
            start_id=self._start_id,
            max_new_tokens=max_new_tokens,
        )

    @property
    def _start_id(self) -> int:
        """The decoder's first input: the padding token where the checkpoint names none."""
        start: int | None = getattr(self._config, "decoder_start_token_id", None)
        return self._config.pad_token_id if start is None else start

    def _decode(self, ids: torch.Tensor, fused: Segment) -> torch.Tensor:
        """Return [N, T, H], scaled by H ** -0.5 where the head was trained tied to the embeddings.

        T5 1.1 was not, and does not scale.
        """
        decoded = self.model.decoder(
            input_ids=ids,
            encoder_hidden_states=fused.vectors,
            encoder_attention_mask=fused.present.long(),
            use_cache=False,
        ).last_hidden_state
        return decoded * self.hidden_size**-0.5 if self._config.scale_decoder_outputs else decoded


def _refuse_float16(dtype: torch.dtype) -> None:
    if dtype == torch.float16:
        raise PlmError("T5 overflows in float16; load it in bfloat16 or float32")
