"""BERT, frozen: it answers by filling the mask in "Question: … Answer: [MASK]".

Only answers of one token can be given, and of VQAv2 only yes/no and number questions are trained
and scored. Source: sections 3.2 and 4 of the paper, table 7; https://arxiv.org/abs/1810.04805 for
the model.
"""

from collections.abc import Sequence
from typing import Any

import torch
from transformers import BertForMaskedLM

from ...errors import PlmError
from .frozen import EncoderPLM, EncoderStates, TokenBatch, TokenIds, chosen_logits

ANSWER_TYPES = ("yes/no", "number")
"""VQAv2's answer types that are trained and scored (table 7)."""


class BertPLM(EncoderPLM):
    """A frozen `BertForMaskedLM`; see `PLM`."""

    family = "bert"
    model_class = BertForMaskedLM
    tokens_at = "bert.embeddings.word_embeddings"
    layers_at = "bert.encoder.layer"
    norm_at = "bert.embeddings.LayerNorm"

    def positions(self, vectors: torch.Tensor) -> torch.Tensor:
        """Return positions 0..L-1 and the first token type, [L, H], for vectors [N, L, H]."""
        embeddings = self.model.bert.embeddings
        positions = embeddings.position_embeddings.weight[: vectors.shape[1]]
        return positions + embeddings.token_type_embeddings.weight[0]

    def tokenise(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of `[CLS] Question: <text> Answer: [MASK] [SEP]`.

        A text that is too long is cut, the template never is.
        """
        tokens = self.tokenizer
        before = [tokens.cls_token_id, *self._plain_ids(["Question:"])[0]]
        after = [*self._plain_ids(["Answer:"])[0], tokens.mask_token_id, tokens.sep_token_id]
        room = self.model.config.max_position_embeddings - len(before) - len(after)
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

    def pad(self, ids: Sequence[TokenIds]) -> TokenBatch:
        """Return ids padded on the right to the longest, and each mask's place: last but one."""
        batch = super().pad(ids)
        return TokenBatch(batch.ids, batch.present, answer_at=batch.present.sum(dim=1) - 2)

    def answer_loss(
        self, encoded: EncoderStates, answers: Sequence[TokenIds]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return [N] cross-entropies of the answers at the masks, and [N] ones."""
        wrong = next((list(ids) for ids in answers if len(ids) != 1), None)
        if wrong is not None:
            raise PlmError(
                f"BERT fills one mask with one token, and {self.tokenizer.decode(wrong)!r} has "
                f"{len(wrong)}; leave such answers out, or choose a BART or a T5"
            )
        targets = torch.tensor([int(token) for (token,) in answers], device=self.device)
        logits = self._head.decoder(self._at_mask(encoded)).float()
        losses = torch.nn.functional.cross_entropy(logits, targets, reduction="none")
        return losses, torch.ones_like(targets)

    def label_logits(self, encoded: EncoderStates, label_ids: torch.Tensor) -> torch.Tensor:
        """Return [N, C] float32: logits of the label words at the mask, of no other word."""
        words = self._head.decoder
        return chosen_logits(self._at_mask(encoded), words.weight, words.bias, label_ids)

    def generate(self, encoded: EncoderStates, *, max_new_tokens: int) -> list[str]:
        """Return the likeliest token at each mask; an answer is never longer."""
        del max_new_tokens
        best = self._head.decoder(self._at_mask(encoded)).argmax(dim=1)
        words = self.tokenizer.batch_decode(best[:, None], skip_special_tokens=True)
        return [word.strip() for word in words]

    @property
    def _head(self) -> Any:
        return self.model.cls.predictions

    def _plain_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Return each text's ids without special tokens."""
        return self.tokenizer(list(texts), add_special_tokens=False).input_ids if texts else []

    def _at_mask(self, encoded: EncoderStates) -> torch.Tensor:
        """Return [N, H]: the head's input, before its words, at the masks alone."""
        if encoded.answer_at is None:
            raise PlmError("BERT answers at a mask, and this sequence has none: feed it a text")
        rows = torch.arange(len(encoded.vectors), device=self.device)
        return self._head.transform(encoded.vectors[rows, encoded.answer_at])
