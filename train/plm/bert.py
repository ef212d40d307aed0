"""BERT, frozen: it answers by filling the mask in "Question: … Answer: [MASK]".

Only answers of one token can be given, and of VQAv2 only yes/no and number questions are trained
and scored. Source: sections 3.2 and 4 of the paper, table 7; https://arxiv.org/abs/1810.04805 for
the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import BertForMaskedLM, DynamicCache, PreTrainedTokenizerBase

from ...errors import PlmError
from ...pretrained import Pretrained
from ..fusion.sequence import Segment
from .layers import lend, require_positions
from .loading import read_model
from .protocol import CountsWithin, TokenBatch
from .tokens import first_tokens, padded

ANSWER_TYPES = ("yes/no", "number")
"""VQAv2's answer types that are trained and scored (table 7)."""


class BertPLM:
    """A frozen `BertForMaskedLM` behind the `PLM` protocol.

    Args:
        model: The model; it is put in evaluation mode and its parameters stop asking for gradients.
        tokenizer: Its tokenizer.
        identity: What the run's record says of the model.
    """

    family = "bert"
    counts_within: CountsWithin = "segment"

    def __init__(
        self,
        model: BertForMaskedLM,
        tokenizer: PreTrainedTokenizerBase,
        identity: dict[str, Any] | None = None,
    ) -> None:
        self.model = model.eval().requires_grad_(False)
        self.tokenizer = tokenizer
        self.identity: dict[str, Any] = identity or {}
        self._config: Any = model.config
        self._embeddings = model.bert.embeddings
        self._layers = model.bert.encoder.layer
        self._head = model.cls.predictions
        self.hidden_size: int = self._config.hidden_size
        self.max_positions: int | None = self._config.max_position_embeddings

    @classmethod
    def from_checkpoint(
        cls, checkpoint: Pretrained, *, dtype: torch.dtype, device: torch.device
    ) -> BertPLM:
        """Return the model of a checkpoint, read from its safetensors."""
        model, tokenizer, identity = read_model(
            BertForMaskedLM, checkpoint, dtype=dtype, device=device
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
        """Return the ids of `[CLS] Question: <text> Answer: [MASK] [SEP]`.

        A text that is too long is cut, the template never is.
        """
        tokens = self.tokenizer
        before = [tokens.cls_token_id, *self._plain_ids(["Question:"])[0]]
        after = [*self._plain_ids(["Answer:"])[0], tokens.mask_token_id, tokens.sep_token_id]
        room = self._config.max_position_embeddings - len(before) - len(after)
        return [[*before, *ids[:room], *after] for ids in self._plain_ids(texts)]

    def tokenise_answers(self, answers: Sequence[str]) -> list[list[int]]:
        """Return each answer's ids; `answer_loss` takes those of one."""
        return self._plain_ids(answers)

    def answerable(self, answers: Sequence[str], answer_types: Sequence[str | None]) -> list[bool]:
        """Return for each answer whether it is one known token, and no "other" of VQAv2's."""
        distinct = list(dict.fromkeys(answers))
        unknown = self.tokenizer.unk_token_id
        single = {
            answer: len(ids) == 1 and ids[0] != unknown
            for answer, ids in zip(distinct, self._plain_ids(distinct), strict=True)
        }
        return [
            single[answer] and (kind is None or kind in ANSWER_TYPES)
            for answer, kind in zip(answers, answer_types, strict=True)
        ]

    def pad(self, ids: Sequence[Sequence[int]]) -> TokenBatch:
        """Return ids padded on the right to the longest, and each mask's place: last but one."""
        batch = padded(ids, pad_id=self._config.pad_token_id, device=self.device)
        return TokenBatch(batch.ids, batch.present, answer_at=batch.present.sum(dim=1) - 2)

    def embed_text(self, ids: torch.Tensor) -> torch.Tensor:
        """Return [N, T, H]: token embeddings, embedded as a segment."""
        return self.embed_segment(self._embeddings.word_embeddings(ids))

    def embed_segment(self, vectors: torch.Tensor) -> torch.Tensor:
        """Return [N, L, H] + positions 0..L-1 + the first token type, through the norm.

        Raises:
            PlmError: If the segment is longer than the model has positions.
        """
        require_positions(vectors.shape[1], self.max_positions)
        return self._embeddings(inputs_embeds=vectors)

    def segment_norm(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the scale and shift of the embeddings' norm, [H] each."""
        return self._embeddings.LayerNorm.weight, self._embeddings.LayerNorm.bias

    def standardise_segment(self, vectors: torch.Tensor) -> torch.Tensor:
        """Return [N, L, H] + positions + token type, each vector to mean 0 and variance 1.

        Raises:
            PlmError: If the segment is longer than the model has positions.
        """
        require_positions(vectors.shape[1], self.max_positions)
        embeddings = self._embeddings
        positions = embeddings.position_embeddings.weight[: vectors.shape[1]]
        summed = vectors + positions + embeddings.token_type_embeddings.weight[0]
        norm = embeddings.LayerNorm
        return torch.nn.functional.layer_norm(summed, norm.normalized_shape, eps=norm.eps)

    def token_vectors(self) -> torch.Tensor:
        """Return [W, H]: every token's embedding."""
        return self._embeddings.word_embeddings.weight

    def encode(self, vectors: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return [N, S, H], the layers' output under the additive mask [N, 1, 1 or S, S]."""
        for layer in self._layers:
            vectors = layer(vectors, mask)
        return vectors

    def encode_behind_prefix(
        self, prefix: torch.Tensor, vectors: torch.Tensor, mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return [R, P, H] and [N, S, H]: the prefix runs once a run, its keys serve N/R rows."""
        per_run = vectors.shape[0] // prefix.shape[0]
        own, shared = DynamicCache(), DynamicCache()
        for index, layer in enumerate(self._layers):
            prefix = layer(prefix, None, past_key_values=own)
            lend(own, shared, index, per_run=per_run)
            vectors = layer(vectors, mask, past_key_values=shared)
        return prefix, vectors

    def answer_loss(
        self, fused: Segment, answers: Sequence[Sequence[int]]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return [N] cross-entropies of the answers at the masks, and [N] ones.

        Raises:
            PlmError: If an answer is not one token.
        """
        wrong = next((list(ids) for ids in answers if len(ids) != 1), None)
        if wrong is not None:
            raise PlmError(
                f"BERT fills one mask with one token, and {self.tokenizer.decode(wrong)!r} has "
                f"{len(wrong)}; leave such answers out, or choose a BART or a T5"
            )
        targets = torch.tensor([token for (token,) in answers], device=self.device)
        logits = self._head.decoder(self._at_mask(fused)).float()
        losses = torch.nn.functional.cross_entropy(logits, targets, reduction="none")
        return losses, torch.ones_like(targets)

    def label_logits(self, fused: Segment, label_ids: torch.Tensor) -> torch.Tensor:
        """Return [N, C]: logits of the label words at the mask, of no other word."""
        weight, bias = self._head.decoder.weight[label_ids], self._head.decoder.bias[label_ids]
        return torch.nn.functional.linear(self._at_mask(fused), weight, bias).float()

    def label_ids(self, labels: Sequence[str]) -> torch.Tensor:
        """Return each label's first token id [C].

        Raises:
            PlmError: If two labels begin with the same token.
        """
        return first_tokens(self.tokenizer, labels, device=self.device)

    def generate(self, fused: Segment, *, max_new_tokens: int) -> list[str]:
        """Return the likeliest token at each mask; an answer is never longer."""
        del max_new_tokens
        best = self._head.decoder(self._at_mask(fused)).argmax(dim=1)
        return [
            answer.strip()
            for answer in self.tokenizer.batch_decode(best[:, None], skip_special_tokens=True)
        ]

    def _plain_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Return each text's ids without special tokens."""
        return self.tokenizer(list(texts), add_special_tokens=False).input_ids if texts else []

    def _at_mask(self, fused: Segment) -> torch.Tensor:
        """Return [N, H]: the head's input, before its words, at the masks alone."""
        if fused.answer_at is None:
            raise PlmError("BERT answers at a mask, and this sequence has none: feed it a text")
        rows = torch.arange(fused.vectors.shape[0], device=self.device)
        return self._head.transform(fused.vectors[rows, fused.answer_at])
