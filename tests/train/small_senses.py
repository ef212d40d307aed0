"""Small random live encoders of images (or frames) and of sound."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from .small_cache import WIDTH


class SmallEyes:
    """One vector an image or frame; black is not its zero."""

    def __init__(self, pixels: int, width: int = WIDTH, tokens: int | None = None) -> None:
        self.id, self.field, self.width = "small-eyes", "pooler", width
        generator = torch.Generator().manual_seed(5)
        rows = width * (tokens or 1)
        self.tokens = tokens
        self._weight = torch.randn(pixels, rows, generator=generator) / pixels**0.5
        self._bias = torch.randn(rows, generator=generator)

    def weights(self) -> dict[str, torch.Tensor]:
        return {"weight": self._weight}

    def __call__(
        self, decoded: torch.Tensor, weights: Mapping[str, torch.Tensor] | None = None
    ) -> torch.Tensor:
        vectors = ((decoded / 127.5 - 1).flatten(1) @ self._weight + self._bias).tanh()
        return vectors if self.tokens is None else vectors.unflatten(1, (self.tokens, self.width))


class SmallEars:
    """A vector every four samples, of sound brought to unit variance as wav2vec2 has it."""

    def __init__(self, width: int = WIDTH, floor: float = 1e-7) -> None:
        self._floor = floor
        self.id, self.field, self.width = "small-ears", "last_hidden_state", width
        generator = torch.Generator().manual_seed(7)
        self._weight = torch.randn(4, width, generator=generator)

    def weights(self) -> dict[str, torch.Tensor]:
        return {"weight": self._weight}

    def __call__(
        self, decoded: torch.Tensor, weights: Mapping[str, torch.Tensor] | None = None
    ) -> torch.Tensor:
        centred = decoded - decoded.mean(dim=1, keepdim=True)
        loud = (centred.square().mean(dim=1, keepdim=True) + self._floor).sqrt()
        return ((centred / loud).unfold(1, 4, 4) @ self._weight).tanh()
