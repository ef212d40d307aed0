"""Answers of the models that have a decoder: its inputs, the loss, greedy decoding."""

from __future__ import annotations

from typing import Any

import torch
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase
from transformers.modeling_outputs import BaseModelOutput

from ..fusion.sequence import Segment

NOT_SCORED = -100


def shifted_right(ids: torch.Tensor, *, start_id: int) -> torch.Tensor:
    """Return [N, T]: the decoder's inputs for the targets `ids`, its start token first."""
    return torch.cat([torch.full_like(ids[:, :1], start_id), ids[:, :-1]], dim=1)


def summed_losses(logits: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return [N] summed cross-entropies and [N] counts of the tokens that are scored.

    Args:
        logits: [N, T, W].
        labels: [N, T] int64, `NOT_SCORED` where a position is not.
    """
    losses = torch.nn.functional.cross_entropy(
        logits.transpose(1, 2).float(), labels, ignore_index=NOT_SCORED, reduction="none"
    )
    return losses.sum(dim=1), (labels != NOT_SCORED).sum(dim=1)


def without_preferences(model: Any) -> Any:
    """Return the model with its checkpoint's generation settings forgotten.

    What a call leaves unset is taken from them: beams, n-gram rules, penalties, lengths.
    """
    model.generation_config = GenerationConfig()
    return model


def greedy_answers(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    fused: Segment,
    *,
    start_id: int,
    max_new_tokens: int,
    forced_first: int | None = None,
) -> list[str]:
    """Return greedy answers.

    Args:
        model: The model, after `without_preferences`; only its decoder runs.
        tokenizer: Its tokenizer.
        fused: The encoder's outputs.
        start_id: The decoder's first input.
        max_new_tokens: Longest answer, `</s>` not counted.
        forced_first: The token that every answer begins with, where there is one.
    """
    config: Any = model.config
    greedy = GenerationConfig(
        max_new_tokens=max_new_tokens + 1 + (forced_first is not None),
        num_beams=1,
        do_sample=False,
        pad_token_id=config.pad_token_id,
        eos_token_id=config.eos_token_id,
        decoder_start_token_id=start_id,
        forced_bos_token_id=forced_first,
        forced_eos_token_id=config.eos_token_id,
    )
    generating: Any = model
    ids = generating.generate(
        encoder_outputs=BaseModelOutput(last_hidden_state=fused.vectors),  # pyright: ignore[reportArgumentType]
        attention_mask=fused.present.long(),
        generation_config=greedy,
    )
    return [answer.strip() for answer in tokenizer.batch_decode(ids, skip_special_tokens=True)]
