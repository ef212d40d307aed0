"""Models with a decoder: what their answers cost, and how they are written."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np
import torch
from transformers import DynamicCache, EncoderDecoderCache

from .frozen import EncoderPLM, EncoderStates, TokenIds, additive, chosen_logits
from .greedy import greedy
from .prefix import KeysValues, Prefix, spread_cache


class CrossAttention(NamedTuple):
    """The layers of one decoder layer that make keys and values of an encoder's outputs."""

    keys: torch.nn.Module
    values: torch.nn.Module
    head_size: int


@dataclass(slots=True)
class DecoderRows:
    """The rows that a decoder writes to: its keys and values so far, those of the encoder included.

    Attributes:
        mask: [N, 1, 1, P + S], additive: which of the encoder's outputs are no padding.
    """

    cache: EncoderDecoderCache
    mask: torch.Tensor

    def keep(self, rows: torch.Tensor) -> None:
        """Let go of all rows but these."""
        self.cache.batch_select_indices(rows)
        self.mask = self.mask[rows]


class EncoderDecoderPLM(EncoderPLM):
    """A frozen `…ForConditionalGeneration`, whose decoder writes the answer; see `PLM`."""

    def tokenise(self, texts: Sequence[str]) -> list[list[int]]:
        """Return each text's ids with special tokens, cut to the model's positions."""
        if not texts:
            return []
        limit = self.max_positions
        return self.tokenizer(list(texts), truncation=limit is not None, max_length=limit).input_ids

    def answer_loss(
        self, encoded: EncoderStates, answers: Sequence[TokenIds]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return [N] summed cross-entropies over the answer's tokens and its end, and [N] counts.

        Neither padding nor the tokens that every answer begins with are scored.
        """
        batch, lead = self.pad(answers), len(self._lead)
        start = torch.full_like(batch.ids[:, :1], self._start_id)
        decoded = self._decode(torch.cat([start, batch.ids[:, :-1]], dim=1), self.rows(encoded))
        rows, length = batch.ids.shape
        lengths = np.array([len(ids) for ids in answers])
        places = np.arange(length)
        scored = self.on_device(np.flatnonzero((places >= lead) & (places < lengths[:, None])))
        logits = self._logits(decoded.flatten(0, 1).index_select(0, scored))
        targets = batch.ids.flatten()[scored]
        losses = torch.nn.functional.cross_entropy(logits.float(), targets, reduction="none")
        each = losses.new_zeros(rows * length).index_copy(0, scored, losses).view(rows, length)
        return each.sum(dim=1), self.on_device(lengths - lead)

    def label_logits(self, encoded: EncoderStates, label_ids: torch.Tensor) -> torch.Tensor:
        """Return [N, C] float32: logits of the label words as the answer's first token.

        No weight is touched. Source: the released code's verbaliser, without its writes into tied
        weights.
        """
        decoded = self._decode(self._begun(len(encoded.vectors)), self.rows(encoded))[:, -1]
        return chosen_logits(decoded, self.model.lm_head.weight, self._head_bias, label_ids)

    def generate(self, encoded: EncoderStates, *, max_new_tokens: int) -> list[str]:
        """Return greedy answers of at most so many tokens, the end token not counted."""
        ids = self.write(encoded, max_new_tokens=max_new_tokens)
        return [text.strip() for text in self.tokenizer.batch_decode(ids, skip_special_tokens=True)]

    def write(self, encoded: EncoderStates, *, max_new_tokens: int) -> torch.Tensor:
        """Return greedy answers' tokens [N, `max_new_tokens`] int64, the end token from their end.

        They are those of the library's `generate` with the lead and the end forced.
        """
        rows = self.rows(encoded)

        def best_next(ids: torch.Tensor) -> torch.Tensor:
            return self._logits(self._decode(ids, rows)[:, -1]).argmax(dim=1)

        start, end = self._begun(len(encoded.vectors)), self.model.config.eos_token_id
        return greedy(best_next, rows.keep, start, end=end, limit=max_new_tokens)

    def lend(self, prompts: torch.Tensor, present: torch.Tensor | None = None) -> Prefix:
        """Return prompts after all layers, with the decoder's keys and values; see `PLM.lend`."""
        prefix = super().lend(prompts, present)
        return replace(prefix, crossed=list(self._crossed(prefix.states)))

    def rows(self, states: EncoderStates) -> DecoderRows:
        """Return the rows of N encoded sequences before the decoder's first token.

        A prefix's keys and values were computed once a run and serve each of its rows.
        """
        present, prefix = states.present, states.prefix
        cross = DynamicCache()
        if prefix is not None:
            cross = spread_cache(prefix.crossed, len(present))
            present = prefix.ahead_of(present)
        for number, (keys, values) in enumerate(self._crossed(states.vectors)):
            cross.update(keys, values, number)
        mask = additive(present[:, None, None], dtype=states.vectors.dtype)
        return DecoderRows(EncoderDecoderCache(DynamicCache(), cross), mask)

    def _crossed(self, vectors: torch.Tensor) -> Iterator[KeysValues]:
        """Yield each cross-attention's keys and values of an encoder's outputs [N, S, H]."""
        for to_keys, to_values, size in self._crossings:
            made = (to(vectors).unflatten(2, (-1, size)) for to in (to_keys, to_values))
            keys, values = (part.transpose(1, 2) for part in made)
            yield keys, values

    def _begun(self, rows: int) -> torch.Tensor:
        """Return what the decoder is fed before an answer's first token, [N, 1 or 2]."""
        return self._beginning.expand(rows, -1)

    @cached_property
    def _beginning(self) -> torch.Tensor:
        with torch.inference_mode(False):  # whoever asks first
            return torch.tensor([self._start_id, *self._lead], device=self.device)

    @cached_property
    def _lead(self) -> list[int]:
        """The tokens between the decoder's start and the answer: `<s>` in BART, none in T5."""
        first: list[int] = self.tokenizer("").input_ids[:1]
        return [] if first == [self.model.config.eos_token_id] else first

    @cached_property
    def _start_id(self) -> int:
        """The decoder's first input: the padding token where the configuration names none."""
        start: int | None = getattr(self.model.config, "decoder_start_token_id", None)
        return self.model.config.pad_token_id if start is None else start

    @property
    def _head_bias(self) -> torch.Tensor | None:
        """What is added to the logits, [W]; None for nothing."""
        return getattr(self.model, "final_logits_bias", [None])[0]

    @property
    @abstractmethod
    def _crossings(self) -> list[CrossAttention]:
        """The cross-attention of each of the decoder's layers, in order."""

    def _logits(self, decoded: torch.Tensor) -> torch.Tensor:
        """Return every word's logit, [N, W], of what the head reads [N, H]."""
        logits = self.model.lm_head(decoded)
        return logits if self._head_bias is None else logits + self._head_bias

    def _decode(self, ids: torch.Tensor, rows: DecoderRows) -> torch.Tensor:
        """Return [N, T, H]: what the language modelling head reads at tokens [N, T] that follow."""
        # masks of four dimensions are taken as they are: others are looked through, on the host
        steps, past = ids.shape[1], rows.cache.get_seq_length()
        return self.model.get_decoder()(
            input_ids=ids,
            attention_mask=_causal(steps, past, rows.mask.dtype, ids.device),
            encoder_hidden_states=rows.mask,  # any: what is read of them is in the cache
            encoder_attention_mask=rows.mask,
            past_key_values=rows.cache,
        ).last_hidden_state


@lru_cache(maxsize=64)
@torch.inference_mode(False)  # whoever asks first
def _causal(steps: int, past: int, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Return the additive mask [1, 1, T, past + T] of T = `steps` tokens that follow `past`."""
    seen = torch.ones(steps, past + steps, dtype=torch.bool, device=device).tril(past)
    return additive(seen[None, None], dtype=dtype)
