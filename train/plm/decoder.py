"""Models with a decoder: what their answers cost, and how they are written."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import torch
from transformers import DynamicCache, EncoderDecoderCache, GenerationConfig
from transformers.modeling_outputs import BaseModelOutput

from .frozen import EncoderPLM, EncoderStates, additive, chosen_logits, spread


class CrossAttention(NamedTuple):
    """The layers of one decoder layer that make keys and values of an encoder's outputs."""

    keys: torch.nn.Module
    values: torch.nn.Module
    head_size: int


class EncoderDecoderPLM(EncoderPLM):
    """A frozen `…ForConditionalGeneration`, whose decoder writes the answer; see `PLM`."""

    def tokenise(self, texts: Sequence[str]) -> list[list[int]]:
        """Return each text's ids with special tokens, cut to the model's positions."""
        if not texts:
            return []
        limit = self.max_positions
        return self.tokenizer(list(texts), truncation=limit is not None, max_length=limit).input_ids

    def answer_loss(
        self, encoded: EncoderStates, answers: Sequence[Sequence[int]]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return [N] summed cross-entropies over the answer's tokens and its end, and [N] counts.

        Neither padding nor the tokens that every answer begins with are scored.
        """
        batch, lead = self.pad(answers), len(self._lead)
        start = torch.full_like(batch.ids[:, :1], self._start_id)
        decoded = self._decode(torch.cat([start, batch.ids[:, :-1]], dim=1), encoded)
        rows, length = batch.ids.shape
        places = [
            row * length + at for row, ids in enumerate(answers) for at in range(lead, len(ids))
        ]
        scored = torch.tensor(places, device=self.device)
        logits = self.model.lm_head(decoded.flatten(0, 1).index_select(0, scored))
        logits = logits if self._head_bias is None else logits + self._head_bias
        targets = batch.ids.flatten()[scored]
        losses = torch.nn.functional.cross_entropy(logits.float(), targets, reduction="none")
        each = losses.new_zeros(rows * length).index_copy(0, scored, losses).view(rows, length)
        counts = torch.tensor([len(ids) - lead for ids in answers], device=self.device)
        return each.sum(dim=1), counts

    def label_logits(self, encoded: EncoderStates, label_ids: torch.Tensor) -> torch.Tensor:
        """Return [N, C] float32: logits of the label words as the answer's first token.

        No weight is touched. Source: the released code's verbaliser, without its writes into tied
        weights.
        """
        ids = torch.tensor([self._start_id, *self._lead], device=self.device)
        decoded = self._decode(ids.expand(len(encoded.vectors), -1), encoded)[:, -1]
        return chosen_logits(decoded, self.model.lm_head.weight, self._head_bias, label_ids)

    def generate(self, encoded: EncoderStates, *, max_new_tokens: int) -> list[str]:
        """Return greedy answers of at most so many tokens, the end token not counted."""
        config = self.model.config
        ids = self.model.generate(
            encoder_outputs=BaseModelOutput(last_hidden_state=encoded.vectors),  # pyright: ignore[reportArgumentType]
            attention_mask=self.crossed_present(encoded).long(),
            past_key_values=self.crossed(encoded),
            generation_config=GenerationConfig(
                max_new_tokens=max_new_tokens + 1 + len(self._lead),
                num_beams=1,
                do_sample=False,
                pad_token_id=config.pad_token_id,
                eos_token_id=config.eos_token_id,
                decoder_start_token_id=self._start_id,
                forced_bos_token_id=next(iter(self._lead), None),
                forced_eos_token_id=config.eos_token_id,
            ),
        )
        return [text.strip() for text in self.tokenizer.batch_decode(ids, skip_special_tokens=True)]

    @property
    def _lead(self) -> list[int]:
        """The tokens between the decoder's start and the answer: `<s>` in BART, none in T5."""
        first: list[int] = self.tokenizer("").input_ids[:1]
        return [] if first == [self.model.config.eos_token_id] else first

    @property
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

    def crossed(self, states: EncoderStates) -> EncoderDecoderCache:
        """Return a cache for the decoder that holds its cross-attention's keys and values.

        Those of a prefix are computed once a run and serve each of its rows.
        """
        cross, rows = DynamicCache(), len(states.vectors)
        for number, (to_keys, to_values, size) in enumerate(self._crossings):
            for vectors in (states.prefix, states.vectors):
                if vectors is not None:
                    keys, values = (
                        spread(to(vectors).unflatten(2, (-1, size)).transpose(1, 2), rows)
                        for to in (to_keys, to_values)
                    )
                    cross.update(keys, values, number)
        return EncoderDecoderCache(DynamicCache(), cross)

    def crossed_present(self, states: EncoderStates) -> torch.Tensor:
        """Return [N, P + S] bool: which of the keys in `crossed` are no padding."""
        present = states.present
        if states.prefix is None:
            return present
        ahead = present.new_ones(len(present), states.prefix.shape[1])
        return torch.cat([ahead, present], dim=1)

    def _decode(self, ids: torch.Tensor, states: EncoderStates) -> torch.Tensor:
        """Return [N, T, H]: what the language modelling head reads."""
        # masks of four dimensions are taken as they are: others are looked through, on the host
        dtype, steps = states.vectors.dtype, ids.shape[1]
        causal = torch.ones(steps, steps, dtype=torch.bool, device=ids.device).tril()
        return self.model.get_decoder()(
            input_ids=ids,
            attention_mask=additive(causal[None, None], dtype=dtype),
            encoder_hidden_states=states.vectors,
            encoder_attention_mask=additive(
                self.crossed_present(states)[:, None, None], dtype=dtype
            ),
            past_key_values=self.crossed(states),
        ).last_hidden_state
