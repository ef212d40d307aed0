"""Which positions of the fused sequence may attend to which, as data."""

from collections.abc import Sequence
from typing import Literal

import torch

from ..plm.frozen import additive

Role = Literal["prompt", "input"]
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
    roles: Sequence[Role],
    present: torch.Tensor,
    visibility: Visibility,
    *,
    dtype: torch.dtype,
    order: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return the additive attention mask of a fused sequence of S roles: [N, 1, S, S].

    It is 0 or the dtype's minimum. Such a mask means the same under every attention
    implementation; a boolean one is misread by the eager one and a 0/1 float one by SDPA.

    Padding, where `present` [N, S] is False, is never a key. `order` [N, S] int64 says which of
    the roles each row's positions have; by default their own.
    """
    rows = [[(query, key) in visibility for key in roles] for query in roles]
    pairs = torch.tensor(rows, device=present.device)
    pairs = pairs[None] if order is None else pairs[order[:, :, None], order[:, None, :]]
    return additive(pairs & present[:, None, :], dtype=dtype)[:, None]
