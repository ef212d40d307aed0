"""What the trainer asks of a frozen language model, whatever its family."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch


@dataclass(frozen=True, slots=True)
class TokenBatch:
    """Token ids [N, T] int64 and which of them are no padding, [N, T] bool."""

    ids: torch.Tensor
    present: torch.Tensor


class PLM(Protocol):
    """A frozen pretrained language model in evaluation mode; no parameter asks for gradients.

    Attributes:
        family: A key of `PLMS`.
        identity: What a run's record says of it: source, family, size, sha256 of its weights.
        hidden_size: H.
        max_positions: The longest segment, or None where there is no limit.
    """

    family: str
    identity: dict[str, Any]
    hidden_size: int
    max_positions: int | None

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        ...

    @property
    def dtype(self) -> torch.dtype:
        """The weights' dtype."""
        ...

    def tokenise(self, texts: Sequence[str]) -> list[list[int]]:
        """Return each text's ids with the family's special tokens, cut to `max_positions`."""
        ...

    def pad(self, ids: Sequence[Sequence[int]]) -> TokenBatch:
        """Return ids padded to the longest, on the model's device."""
        ...

    def embed_text(self, ids: torch.Tensor) -> torch.Tensor:
        """Return [N, T, H]: token embeddings as the encoder takes them, embedded as a segment."""
        ...

    def embed_segment(self, vectors: torch.Tensor) -> torch.Tensor:
        """Return [N, L, H] with positions counted from 0 within the segment, and the norm."""
        ...

    def token_vectors(self) -> torch.Tensor:
        """Return the token embeddings [W, H] as the encoder takes them, before positions."""
        ...

    def encode(self, vectors: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return encoder outputs [N, S, H] for embedded vectors under an additive mask."""
        ...

    def encode_behind_prefix(
        self, prefix: torch.Tensor, vectors: torch.Tensor, mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the encoded prefix [R, P, H] and inputs [N, S, H]; the prefix sees only itself.

        `mask` is additive over keys [prefix ; inputs], [N, 1, 1 or S, P + S].
        """
        ...

    def answer_loss(
        self, hidden: torch.Tensor, present: torch.Tensor, answers: Sequence[Sequence[int]]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return each example's summed cross-entropy [N] and its number of scored tokens [N]."""
        ...

    def label_logits(
        self, hidden: torch.Tensor, present: torch.Tensor, label_ids: torch.Tensor
    ) -> torch.Tensor:
        """Return logits [N, C] of the label words at the first answer position."""
        ...

    def label_ids(self, labels: Sequence[str]) -> torch.Tensor:
        """Return the token id of each label word [C]; they must be distinct."""
        ...

    def generate(
        self, hidden: torch.Tensor, present: torch.Tensor, *, max_new_tokens: int
    ) -> list[str]:
        """Return the greedy answer to each example."""
        ...
