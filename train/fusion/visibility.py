"""Which positions of the fused sequence may attend to which, as data."""

from functools import cache
from typing import Literal

import torch

from ..plm.frozen import additive

Role = Literal["prompt", "input"]
_ROLES: tuple[Role, Role] = ("input", "prompt")
Visibility = frozenset[tuple[Role, Role]]
"""Pairs (query role, key role): the query's positions see the key's positions."""

FULL: Visibility = frozenset(
    {("prompt", "prompt"), ("prompt", "input"), ("input", "prompt"), ("input", "input")}
)
"""PromptFuse: every position sees every position (section 3.2)."""

BLIND: Visibility = FULL - {("prompt", "input")}
"""BlindPrompt: prompt positions see only prompt positions (section 3.2, figure 2)."""

REVERSE: Visibility = FULL - {("input", "prompt")}
"""The input cannot see the prompt: a variant of the released code, not of the paper."""

VISIBILITIES: dict[str, Visibility] = {"full": FULL, "blind": BLIND, "reverse": REVERSE}


def attention_mask(
    prompt: torch.Tensor, present: torch.Tensor, visibility: Visibility, *, dtype: torch.dtype
) -> torch.Tensor:
    """Return the additive attention mask of fused sequences: [N, 1, 1, S] or [N, 1, S, S].

    It is 0 or the dtype's minimum. Such a mask means the same under every attention
    implementation; a boolean one is misread by the eager one and a 0/1 float one by SDPA.

    Padding, where `present` [N, S] is False, is never a key. `prompt`, [S] bool or [N, S] where
    rows differ, says which positions are the prompt's; where all see all, it does not matter.
    """
    if visibility == FULL:
        return additive(present[:, None, None], dtype=dtype)
    role = prompt.long()
    pairs = _pairs(visibility, present.device)[role[..., :, None], role[..., None, :]]
    return additive(pairs & present[:, None, :], dtype=dtype)[:, None]


@cache
def _pairs(visibility: Visibility, device: torch.device) -> torch.Tensor:
    """Return [2, 2] bool: whether input (0) or prompt (1), the query, sees the key's role."""
    rows = [[(query, key) in visibility for key in _ROLES] for query in _ROLES]
    return torch.tensor(rows, device=device)
