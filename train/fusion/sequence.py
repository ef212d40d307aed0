"""From segments to the language model's encoder outputs.

The fused sequence is `[prompt (P) ; visual (V) ; audio (A) ; text (T)]`; a modality is added or
dropped by adding or dropping its segment. Source: section 3.1, figure 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from .visibility import BLIND, Visibility, additive, attention_mask

if TYPE_CHECKING:
    from ..plm.protocol import PLM


@dataclass(frozen=True, slots=True)
class Segment:
    """One modality's vectors, embedded as the language model embeds a segment.

    Attributes:
        vectors: [N, L, H].
        present: [N, L] bool, False where padding.
        answer_at: [N] int64, the place of the mask that the answer is filled into; None where the
            segment has none.
    """

    vectors: torch.Tensor
    present: torch.Tensor
    answer_at: torch.Tensor | None = None

    @classmethod
    def whole(cls, vectors: torch.Tensor) -> Segment:
        """Return a segment without padding."""
        return cls(vectors, torch.ones(vectors.shape[:2], dtype=torch.bool, device=vectors.device))


def encode_fused(
    plm: PLM, prompts: torch.Tensor | None, inputs: Sequence[Segment], visibility: Visibility
) -> Segment:
    """Return the encoder's outputs over prompt and inputs: [R * B, S, H] and what is present.

    Args:
        plm: The frozen language model.
        prompts: [R, P, H] raw prompt vectors, or None for none. The N = R * B rows of the inputs
            are grouped by run: rows r * B to (r + 1) * B belong to run r.
        inputs: The input segments, left to right.
        visibility: Which roles see which.
    """
    vectors = torch.cat([segment.vectors for segment in inputs], dim=1)
    present = torch.cat([segment.present for segment in inputs], dim=1)
    if prompts is None:
        mask = additive(present[:, None, None, :], dtype=vectors.dtype)
        return Segment(plm.encode(vectors, mask), present, _answer_at(inputs, before=0))
    prompt = plm.embed_segment(prompts.to(vectors.dtype))
    per_run = vectors.shape[0] // prompt.shape[0]
    seen = torch.ones(vectors.shape[0], prompt.shape[1], dtype=torch.bool, device=present.device)
    everything = torch.cat([seen, present], dim=1)
    if visibility == BLIND:
        hidden = _encode_behind_prefix(plm, prompt, vectors, everything, per_run)
    else:
        repeated = prompt.repeat_interleave(per_run, dim=0)
        roles = ["prompt"] * prompt.shape[1] + ["input"] * vectors.shape[1]
        mask = attention_mask(roles, everything, visibility, dtype=vectors.dtype)  # pyright: ignore[reportArgumentType]
        hidden = plm.encode(torch.cat([repeated, vectors], dim=1), mask)
    return Segment(hidden, everything, _answer_at(inputs, before=prompt.shape[1]))


def _answer_at(inputs: Sequence[Segment], *, before: int) -> torch.Tensor | None:
    """Return the mask's place in the fused sequence [N], `before` prompt vectors to its left."""
    for segment in inputs:
        if segment.answer_at is not None:
            return segment.answer_at + before
        before += segment.vectors.shape[1]
    return None


def _encode_behind_prefix(
    plm: PLM, prompt: torch.Tensor, vectors: torch.Tensor, everything: torch.Tensor, per_run: int
) -> torch.Tensor:
    """Return what the blind mask gives, running the prompt once a run instead of once an example.

    Blind prompt states do not depend on the input, so their keys and values serve a whole batch.
    """
    mask = additive(everything[:, None, None, :], dtype=vectors.dtype)
    prompt_hidden, input_hidden = plm.encode_behind_prefix(prompt, vectors, mask)
    return torch.cat([prompt_hidden.repeat_interleave(per_run, dim=0), input_hidden], dim=1)
