"""Prompts [R, P, H], one slice a run: how they start, and what they pass through before use."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from .layers import run_linear, run_lstm
from .methods import PromptInit


def initial_prompt(
    generator: torch.Generator, length: int, embeddings: torch.Tensor, *, init: PromptInit
) -> torch.Tensor:
    """Return the prompt that training starts from, [P, H] float32.

    Args:
        generator: Seeded with the run's initialisation seed.
        length: P, the number of prompt vectors.
        embeddings: [W, H] float32, the language model's token embeddings as it feeds them to its
            encoder.
        init: "tokens" draws rows of `embeddings` (the authors' code), "random" draws from a normal
            distribution with the embeddings' own standard deviation (the paper).

    Source: section 3.2; the released code.
    """
    if init == "tokens":
        rows = torch.randint(embeddings.shape[0], (length,), generator=generator)
        return embeddings[rows].clone()
    return torch.randn(length, embeddings.shape[1], generator=generator) * embeddings.std()


def encode_prompt(parameters: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the parameters with the prompt encoded and without its encoder.

    This is all that answering needs: a prompt encoder's output does not depend on the input, so
    what a finished run keeps is the encoded prompt.

    Source: table 6 (a linear layer, or an LSTM, of hidden size H).
    """
    prefix = "prompt_encoder."
    layer = {
        name.removeprefix(prefix): tensor
        for name, tensor in parameters.items()
        if name.startswith(prefix)
    }
    kept = {name: weight for name, weight in parameters.items() if not name.startswith(prefix)}
    if "weight" in layer:
        kept["prompt"] = run_linear(kept["prompt"], layer["weight"], layer["bias"])
    elif layer:
        kept["prompt"] = run_lstm(kept["prompt"], **layer)
    return kept
