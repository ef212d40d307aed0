"""Models with a decoder: what their answers cost, and how they are written."""

from collections.abc import Sequence

import torch
from transformers import GenerationConfig
from transformers.modeling_outputs import BaseModelOutput

from .frozen import EncoderPLM, EncoderStates, chosen_logits

_NOT_SCORED = -100


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
        batch = self.pad(answers)
        labels = batch.ids.masked_fill(~batch.present, _NOT_SCORED)
        labels[:, : len(self._lead)] = _NOT_SCORED
        start = torch.full_like(batch.ids[:, :1], self._start_id)
        decoded = self._decode(torch.cat([start, batch.ids[:, :-1]], dim=1), encoded)
        logits = self.model.lm_head(decoded)
        logits = logits if self._head_bias is None else logits + self._head_bias
        losses = torch.nn.functional.cross_entropy(
            logits.transpose(1, 2).float(), labels, ignore_index=_NOT_SCORED, reduction="none"
        )
        return losses.sum(dim=1), (labels != _NOT_SCORED).sum(dim=1)

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
            attention_mask=encoded.present.long(),
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

    def _decode(self, ids: torch.Tensor, states: EncoderStates) -> torch.Tensor:
        """Return [N, T, H]: what the language modelling head reads."""
        return self.model.get_decoder()(
            input_ids=ids,
            encoder_hidden_states=states.vectors,
            encoder_attention_mask=states.present.long(),
            use_cache=False,
        ).last_hidden_state
