"""Prompts that see themselves alone: run once, they are lent to every row that follows them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from transformers import DynamicCache

KeysValues = tuple[torch.Tensor, torch.Tensor]
"""An attention's keys and values, each [N, heads, S, H / heads]."""


@dataclass(frozen=True, slots=True)
class Prefix:
    """The prompts of R runs after all layers, for any number of batches of their rows.

    Attributes:
        states: [R, P, H], what the encoder made of them.
        layers: Keys and values in each of the encoder's layers.
        crossed: Those in each of the decoder's cross-attentions; none without a decoder.
        present: [R, P] bool, False where a shorter prompt was padded; None where none was.
    """

    states: torch.Tensor
    layers: Sequence[KeysValues]
    crossed: Sequence[KeysValues] = ()
    present: torch.Tensor | None = None

    def ahead_of(self, present: torch.Tensor) -> torch.Tensor:
        """Return which keys are no padding, [N, P + S] bool, for rows' own [N, S]."""
        own = present.new_ones(self.states.shape[:2]) if self.present is None else self.present
        return torch.cat([spread(own, len(present)), present], dim=1)


def spread(shared: torch.Tensor, rows: int) -> torch.Tensor:
    """Return what R runs share [R, …] beside each of their N = `rows` rows: [N, …]."""
    runs, *shape = shared.shape
    return shared[:, None].expand(runs, rows // runs, *shape).flatten(0, 1)


def spread_cache(layers: Iterable[KeysValues], rows: int) -> DynamicCache:
    """Return a cache with R runs' keys and values beside each of their N = `rows` rows."""
    from transformers import DynamicCache

    cache = DynamicCache()
    for number, (keys, values) in enumerate(layers):
        cache.update(spread(keys, rows), spread(values, rows), number)
    return cache
