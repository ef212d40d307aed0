"""What the trainer asks of a frozen language model, whatever its family."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

import torch

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from ..fusion.sequence import Segment

CountsWithin = Literal["segment", "sequence"]


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


class PLM(Protocol):
    """A frozen pretrained language model in evaluation mode; no parameter asks for gradients.

    Attributes:
        family: A key of `PLMS`.
        identity: What a run's record says of it: source, family, size, sha256 of its weights.
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
        """Return the ids of texts padded to the longest, on the model's device."""
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
        self, fused: Segment, answers: Sequence[Sequence[int]]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return each example's summed cross-entropy [N] and its number of scored tokens [N].

        Args:
            fused: The encoder's outputs, as `encode_fused` returns them.
            answers: The ids that `tokenise_answers` gave.
        """
        ...

    def label_logits(self, fused: Segment, label_ids: torch.Tensor) -> torch.Tensor:
        """Return logits [N, C] of the label words at the first answer position."""
        ...

    def label_ids(self, labels: Sequence[str]) -> torch.Tensor:
        """Return the token id of each label word [C]; they must be distinct."""
        ...

    def generate(self, fused: Segment, *, max_new_tokens: int) -> list[str]:
        """Return the greedy answer to each example."""
        ...


@runtime_checkable
class NormedSegments(Protocol):
    """A language model whose `embed_segment` ends in a layer norm: BART and BERT, not T5."""

    def segment_norm(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return that norm's scale and shift, [H] each."""
        ...

    def standardise_segment(self, vectors: torch.Tensor) -> torch.Tensor:
        """Return [N, L, H] as `embed_segment` does, but before the norm's scale and shift."""
        ...
