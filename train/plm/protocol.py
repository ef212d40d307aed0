"""What the trainer asks of a frozen language model, whatever its family."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

import torch

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

CountsWithin = Literal["segment", "sequence"]

Norm = tuple[torch.Tensor, torch.Tensor]
"""A layer norm's scale and shift, [H] each."""


@dataclass(frozen=True, slots=True)
class TokenBatch:
    """Texts as token ids.

    Attributes:
        ids: [N, T] int64.
        present: [N, T] bool, False where padding.
        answer_at: [N] int64, the place of the mask that the answer is filled into; None where a
            decoder writes the answer.
    """

    ids: torch.Tensor
    present: torch.Tensor
    answer_at: torch.Tensor | None = None


@dataclass(frozen=True, slots=True)
class Segment:
    """One modality's vectors, or several segments joined, as a language model's layers take them.

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
        """Return a segment [N, L, H] without padding."""
        return cls(vectors, torch.ones(vectors.shape[:2], dtype=torch.bool, device=vectors.device))


class Encoded:
    """What a language model made of N fused sequences; only the adapter that made it opens it."""


class PLM(Protocol):
    """A frozen pretrained language model in evaluation mode; no parameter asks for gradients.

    Attributes:
        family: A key of `PLMS`.
        identity: What a run's record says of it: source, family, size, and the sha256 of its
            weights, its configuration and its tokenizer.
        hidden_size: H.
        max_positions: The longest segment, or None where there is no limit.
        tokenizer: Its tokenizer.
        counts_within: What positions are counted over: each segment, or the whole sequence.
    """

    family: str
    identity: dict[str, Any]
    tokenizer: PreTrainedTokenizerBase
    hidden_size: int
    max_positions: int | None
    counts_within: CountsWithin

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        ...

    @property
    def dtype(self) -> torch.dtype:
        """The weights' dtype."""
        ...

    @property
    def norm(self) -> Norm | None:
        """The scale and shift of the norm that every segment goes through; None without one."""
        ...

    def tokenise(self, texts: Sequence[str]) -> list[list[int]]:
        """Return each text's ids with the family's special tokens, cut to `max_positions`.

        A family that answers by filling a mask sets the text into its template here.
        """
        ...

    def tokenise_answers(self, answers: Sequence[str]) -> list[list[int]]:
        """Return each answer's ids as `answer_loss` takes them."""
        ...

    def answerable(self, answers: Sequence[str], answer_types: Sequence[str | None]) -> list[bool]:
        """Return for each answer whether the model can give it.

        Args:
            answers: The true answers.
            answer_types: Their types where the dataset has them, as VQAv2's "yes/no".
        """
        ...

    def pad(self, ids: Sequence[Sequence[int]]) -> TokenBatch:
        """Return the ids of texts padded to the longest, [N, T], on the model's device."""
        ...

    def embed_tokens(self, ids: torch.Tensor) -> torch.Tensor:
        """Return [N, T, H]: token embeddings as the encoder scales them, before positions."""
        ...

    def token_vectors(self) -> torch.Tensor:
        """Return [W, H]: every token's embedding, as `embed_tokens` gives it."""
        ...

    def place(self, vectors: torch.Tensor) -> torch.Tensor:
        """Return [N, L, H] with positions 0..L-1, each vector normalised but not yet scaled."""
        ...

    def encode(
        self, inputs: Segment, mask: torch.Tensor, *, prefix: torch.Tensor | None = None
    ) -> Encoded:
        """Return the embedded inputs [N, S, H] as encoded under an additive mask.

        Args:
            inputs: The embedded sequence, or what follows the prefix.
            mask: [N, 1, 1 or S, S] over the inputs' keys, [N, 1, 1 or S, P + S] behind a prefix.
            prefix: [R, P, H], embedded; it sees itself alone and stands before each of its run's
                N / R rows.
        """
        ...

    def answer_loss(
        self, encoded: Encoded, answers: Sequence[Sequence[int]]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return each example's summed cross-entropy [N] and its number of scored tokens [N].

        Args:
            encoded: As `encode` returned it.
            answers: The ids that `tokenise_answers` gave.
        """
        ...

    def label_logits(self, encoded: Encoded, label_ids: torch.Tensor) -> torch.Tensor:
        """Return logits [N, C] float32 of the label words at the first answer position."""
        ...

    def label_ids(self, labels: Sequence[str]) -> torch.Tensor:
        """Return the token id of each label word [C]; they must be distinct."""
        ...

    def generate(self, encoded: Encoded, *, max_new_tokens: int) -> list[str]:
        """Return the greedy answer to each example."""
        ...
