"""The only trained parameters: prompts of shape [R, P, H], one slice a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch

PromptInit = Literal["tokens", "random"]


def initial_prompts(
    seeds: Sequence[int], length: int, embeddings: torch.Tensor, *, init: PromptInit
) -> torch.Tensor:
    """Return the prompts that training starts from, [R, P, H] float32, one run a seed.

    A run's slice depends on its own seed alone, not on the runs beside it.

    Args:
        seeds: The R initialisation seeds.
        length: P, the number of prompt vectors.
        embeddings: [W, H], the language model's token embeddings as it feeds them to its encoder.
        init: "tokens" draws rows of `embeddings` (the authors' code), "random" draws from a normal
            distribution with the embeddings' own standard deviation (the paper).

    Source: section 3.2; the released code.
    """
    prompts = [_initial_prompt(seed, length, embeddings.float().cpu(), init) for seed in seeds]
    return torch.stack(prompts)


def _initial_prompt(
    seed: int, length: int, embeddings: torch.Tensor, init: PromptInit
) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    if init == "tokens":
        rows = torch.randint(embeddings.shape[0], (length,), generator=generator)
        return embeddings[rows].clone()
    return torch.randn(length, embeddings.shape[1], generator=generator) * embeddings.std()
