"""BART, frozen: segment embedding, the encoder's layers under any mask, loss and greedy answers.

Source: section 3.2 of the paper; https://arxiv.org/abs/1910.13461 for the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from transformers import (
    AutoTokenizer,
    BartForConditionalGeneration,
    DynamicCache,
    GenerationConfig,
    PreTrainedTokenizerBase,
)
from transformers.modeling_outputs import BaseModelOutput

from ...checkpoints import Checkpoint
from ...errors import PlmError
from .protocol import TokenBatch

_NOT_SCORED = -100


class BartPLM:
    """A frozen `BartForConditionalGeneration` behind the `PLM` protocol.

    Args:
        model: The model; it is put in evaluation mode and its parameters stop asking for gradients.
        tokenizer: Its tokenizer.
        identity: What the run's record says of the model.
    """

    family = "bart"

    def __init__(
        self,
        model: BartForConditionalGeneration,
        tokenizer: PreTrainedTokenizerBase,
        identity: dict[str, Any] | None = None,
    ) -> None:
        self.model = model.eval().requires_grad_(False)
        self.tokenizer = tokenizer
        self.identity: dict[str, Any] = identity or {}
        self._config: Any = model.config
        self._encoder = model.model.encoder
        self.hidden_size: int = self._config.d_model
        self.max_positions: int | None = self._config.max_position_embeddings

    @classmethod
    def from_checkpoint(
        cls, checkpoint: Checkpoint, *, dtype: torch.dtype, device: torch.device
    ) -> BartPLM:
        """Return the model of a checkpoint, read from its safetensors."""
        model: Any = BartForConditionalGeneration.from_pretrained(
            checkpoint.folder, dtype=dtype, use_safetensors=True, local_files_only=True
        )
        identity = {
            "id": checkpoint.id,
            "revision": checkpoint.revision,
            "family": cls.family,
            "hidden_size": model.config.d_model,
            "parameters": sum(weight.numel() for weight in model.parameters()),
            "weights_sha256": checkpoint.weights_sha256,
        }
        tokenizer = AutoTokenizer.from_pretrained(checkpoint.folder, local_files_only=True)
        return cls(model.to(device), tokenizer, identity)

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

    def pad(self, ids: Sequence[Sequence[int]]) -> TokenBatch:
        """Return ids padded on the right to the longest: [N, T] int64 and bool."""
        lengths = torch.tensor([len(row) for row in ids])
        padded = torch.nn.utils.rnn.pad_sequence(
            [torch.tensor(row, dtype=torch.long) for row in ids],
            batch_first=True,
            padding_value=self._config.pad_token_id,
        )
        present = torch.arange(padded.shape[1])[None] < lengths[:, None]
        return TokenBatch(padded.to(self.device), present.to(self.device))

    def embed_text(self, ids: torch.Tensor) -> torch.Tensor:
        """Return [N, T, H]: scaled token embeddings, positions from 0, layer norm."""
        return self.embed_segment(self._encoder.embed_tokens(ids))

    def embed_segment(self, vectors: torch.Tensor) -> torch.Tensor:
        """Return [N, L, H] + BART's learned positions 0..L-1, through `layernorm_embedding`.

        Raises:
            PlmError: If the segment is longer than the model has positions.
        """
        length = vectors.shape[1]
        if self.max_positions is not None and length > self.max_positions:
            raise PlmError(
                f"a segment of {length} vectors is longer than the model's {self.max_positions} "
                "positions; pool it before it is embedded"
            )
        positions = self._encoder.embed_positions(vectors[..., 0])  # needs the shape only
        return self._encoder.layernorm_embedding(vectors + positions)

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
            cached = cast(Any, own.layers[index])
            shared.update(
                cached.keys.repeat_interleave(per_run, dim=0),
                cached.values.repeat_interleave(per_run, dim=0),
                index,
            )
            vectors = layer(vectors, mask, past_key_values=shared)
        return prefix, vectors

    def answer_loss(
        self, hidden: torch.Tensor, present: torch.Tensor, answers: Sequence[Sequence[int]]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return [N] summed cross-entropies over the answer's tokens and `</s>`, and [N] counts.

        Neither padding nor the forced `<s>` that every answer begins with is scored.
        """
        batch = self.pad(answers)
        lead = batch.ids == self._config.bos_token_id
        labels = batch.ids.masked_fill(~batch.present | lead, _NOT_SCORED)
        start = torch.full_like(batch.ids[:, :1], self._config.decoder_start_token_id)
        decoded = self._decode(torch.cat([start, batch.ids[:, :-1]], dim=1), hidden, present)
        logits = self.model.lm_head(decoded) + self.model.final_logits_bias
        losses = torch.nn.functional.cross_entropy(
            logits.transpose(1, 2).float(), labels, ignore_index=_NOT_SCORED, reduction="none"
        )
        return losses.sum(dim=1), (labels != _NOT_SCORED).sum(dim=1)

    def label_logits(
        self, hidden: torch.Tensor, present: torch.Tensor, label_ids: torch.Tensor
    ) -> torch.Tensor:
        """Return [N, C]: logits of the label words after `</s><s>`; no weight is touched.

        Source: the released code's verbaliser, without its writes into tied weights.
        """
        lead = [self._config.decoder_start_token_id, *self._forced_start()]
        ids = torch.tensor(lead, device=self.device).expand(hidden.shape[0], -1)
        decoded = self._decode(ids, hidden, present)[:, -1]
        weight, bias = self.model.lm_head.weight, self.model.final_logits_bias[0]
        return (decoded @ weight[label_ids].T + bias[label_ids]).float()

    def label_ids(self, labels: Sequence[str]) -> torch.Tensor:
        """Return each label's first token id [C], without a leading space.

        Raises:
            PlmError: If two labels begin with the same token.
        """
        ids = [self.tokenizer(label, add_special_tokens=False).input_ids[0] for label in labels]
        if len(set(ids)) < len(ids):
            raise PlmError(
                f"the labels {list(labels)} do not differ in their first token under this "
                "tokenizer; choose label words that do"
            )
        return torch.tensor(ids, device=self.device)

    def generate(
        self, hidden: torch.Tensor, present: torch.Tensor, *, max_new_tokens: int
    ) -> list[str]:
        """Return greedy answers; the checkpoint's own beams and n-gram rules do not apply."""
        config = self._config
        forced = self._forced_start()
        greedy = GenerationConfig(
            max_new_tokens=max_new_tokens + 1 + len(forced),
            num_beams=1,
            do_sample=False,
            pad_token_id=config.pad_token_id,
            bos_token_id=config.bos_token_id,
            eos_token_id=config.eos_token_id,
            decoder_start_token_id=config.decoder_start_token_id,
            forced_bos_token_id=forced[0] if forced else None,
        )
        model: Any = self.model
        ids = model.generate(
            encoder_outputs=BaseModelOutput(last_hidden_state=hidden),  # pyright: ignore[reportArgumentType]
            attention_mask=present.long(),
            generation_config=greedy,
        )
        return [
            answer.strip() for answer in self.tokenizer.batch_decode(ids, skip_special_tokens=True)
        ]

    def _decode(
        self, ids: torch.Tensor, hidden: torch.Tensor, present: torch.Tensor
    ) -> torch.Tensor:
        return self.model.model.decoder(
            input_ids=ids,
            encoder_hidden_states=hidden,
            encoder_attention_mask=present.long(),
            use_cache=False,
        ).last_hidden_state

    def _forced_start(self) -> list[int]:
        """Return the tokens between the decoder's start and the answer: `<s>` in BART."""
        start: int = self._config.bos_token_id
        return [start] if self.tokenizer("").input_ids[:1] == [start] else []
