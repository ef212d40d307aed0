"""What the adapters of all families share: a frozen transformers model and its encoder's layers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self, cast

import torch
from torch.nn.functional import layer_norm
from transformers import DynamicCache, PreTrainedModel, PreTrainedTokenizerBase

from ...errors import PlmError
from ...pretrained import Pretrained
from .loading import read_model
from .protocol import CountsWithin, Encoded, Norm, Segment, TokenBatch
from .tokens import first_tokens, padded


@dataclass(frozen=True, slots=True)
class EncoderStates(Encoded):
    """The encoder's outputs.

    Attributes:
        vectors: [N, S, H].
        present: [N, S] bool, False where padding.
        answer_at: [N] int64, the place of the mask; None without one.
    """

    vectors: torch.Tensor
    present: torch.Tensor
    answer_at: torch.Tensor | None = None


class FrozenPLM:
    """A frozen transformers model behind the `PLM` protocol.

    A family's adapter names the model's class, its token embeddings, its layers and their norm,
    and says what it adds for positions and how it answers.

    Args:
        model: The model; it is put in evaluation mode and its parameters stop asking for gradients.
        tokenizer: Its tokenizer.
        identity: What a run's record says of the model.
    """

    family: str
    model_class: ClassVar[type[PreTrainedModel]]
    counts_within: CountsWithin = "segment"

    def __init__(
        self,
        model: Any,
        tokenizer: PreTrainedTokenizerBase,
        identity: dict[str, Any] | None = None,
    ) -> None:
        self.model: Any = model.eval().requires_grad_(False)
        self.tokenizer = tokenizer
        self.identity: dict[str, Any] = identity or {}
        self.hidden_size: int = model.config.hidden_size
        self.max_positions: int | None = getattr(model.config, "max_position_embeddings", None)

    @classmethod
    def read(cls, source: Pretrained, *, dtype: torch.dtype, device: torch.device) -> Self:
        """Return the model in a folder, read from its safetensors."""
        return cls(*read_model(cls.model_class, source, dtype=dtype, device=device))

    @property
    def tokens(self) -> torch.nn.Embedding:
        """The layer from token ids to vectors as the encoder takes them."""
        raise NotImplementedError

    @property
    def layers(self) -> Sequence[torch.nn.Module]:
        """The encoder's layers."""
        raise NotImplementedError

    @property
    def segment_norm(self) -> torch.nn.LayerNorm | None:
        """The norm that embedded vectors go through before the layers; None without one."""
        return None

    def positions(self, vectors: torch.Tensor) -> torch.Tensor | None:  # noqa: ARG002
        """Return what is added to the vectors [N, L, H] of a segment, [L, H]; None for nothing."""
        return None

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.model.device

    @property
    def dtype(self) -> torch.dtype:
        """The weights' dtype."""
        return self.model.dtype

    @property
    def norm(self) -> Norm | None:
        """The scale and shift of the norm that every segment goes through; None without one."""
        norm = self.segment_norm
        return None if norm is None else (norm.weight, norm.bias)

    def answerable(self, answers: Sequence[str], answer_types: Sequence[str | None]) -> list[bool]:  # noqa: ARG002
        """Return True for each answer: a decoder can write any."""
        return [True] * len(answers)

    def pad(self, ids: Sequence[Sequence[int]]) -> TokenBatch:
        """Return ids padded on the right to the longest: [N, T] int64 and bool."""
        return padded(ids, pad_id=self.model.config.pad_token_id, device=self.device)

    def label_ids(self, labels: Sequence[str]) -> torch.Tensor:
        """Return each label's first token id [C], without a leading space.

        Raises:
            PlmError: If two labels begin with the same token.
        """
        return first_tokens(self.tokenizer, labels, device=self.device)

    def embed_tokens(self, ids: torch.Tensor) -> torch.Tensor:
        """Return [N, T, H]: token embeddings as the encoder scales them, before positions."""
        return self.tokens(ids)

    def token_vectors(self) -> torch.Tensor:
        """Return [W, H]: every token's embedding, as `embed_tokens` gives it."""
        return self.embed_tokens(torch.arange(self.tokens.num_embeddings, device=self.device))

    def place(self, vectors: torch.Tensor) -> torch.Tensor:
        """Return [N, L, H] with positions 0..L-1, each vector to mean 0 and variance 1.

        A model that has no such positions, or no such norm, leaves that out.

        Raises:
            PlmError: If the segment is longer than the model has positions.
        """
        length = vectors.shape[1]
        if self.max_positions is not None and length > self.max_positions:
            raise PlmError(
                f"a segment of {length} vectors is longer than the model's {self.max_positions} "
                "positions; pool it before it is embedded"
            )
        positions, norm = self.positions(vectors), self.segment_norm
        placed = vectors if positions is None else vectors + positions
        return placed if norm is None else layer_norm(placed, norm.normalized_shape, eps=norm.eps)

    def encode(
        self, inputs: Segment, mask: torch.Tensor, *, prefix: torch.Tensor | None = None
    ) -> EncoderStates:
        """Return the layers' outputs [N, S, H] under the additive mask.

        A prefix [R, P, H] runs once a run, its keys and values serve each of the run's N / R rows,
        and the outputs are those of prefix and inputs, [N, P + S, H].
        """
        if prefix is None:
            *_, hidden = self._through(inputs.vectors, mask)
            return EncoderStates(self._finished(hidden), inputs.present, inputs.answer_at)
        rows, length = inputs.vectors.shape[0], prefix.shape[1]
        per_run = rows // prefix.shape[0]
        own, shared = DynamicCache(), DynamicCache()
        behind, hidden = self._through(inputs.vectors, mask, shared), inputs.vectors
        for layer, ahead in enumerate(self._through(prefix, None, own)):
            _lend(own, shared, layer, per_run=per_run)
            hidden, prefix = next(behind), ahead
        ahead = prefix.repeat_interleave(per_run, dim=0)
        present = inputs.present.new_ones(rows, length)
        return EncoderStates(
            self._finished(torch.cat([ahead, hidden], dim=1)),
            torch.cat([present, inputs.present], dim=1),
            None if inputs.answer_at is None else inputs.answer_at + length,
        )

    def _through(
        self, vectors: torch.Tensor, mask: torch.Tensor | None, cache: DynamicCache | None = None
    ) -> Iterator[torch.Tensor]:
        """Yield the vectors [N, L, H] after each layer."""
        for layer in self.layers:
            vectors = layer(vectors, mask, past_key_values=cache)
            yield vectors

    def _finished(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return the last layer's vectors [N, L, H] as the encoder gives them out."""
        return hidden


def opened(encoded: Encoded) -> EncoderStates:
    """Return what `FrozenPLM.encode` returned, as what it is."""
    return cast(EncoderStates, encoded)


def chosen_logits(
    hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, ids: torch.Tensor
) -> torch.Tensor:
    """Return the logits of a few words, [N, C] float32, in float32 whatever the model's dtype.

    Args:
        hidden: [N, H], what the language modelling head reads.
        weight: [W, H], the head's.
        bias: [W], the head's, or None without one.
        ids: [C] int64, the words.
    """
    logits = hidden.float() @ weight[ids].float().T
    return logits if bias is None else logits + bias[ids].float()


def _lend(own: DynamicCache, shared: DynamicCache, layer: int, *, per_run: int) -> None:
    """Put a prefix's keys and values of one layer before those of every row of its run.

    Args:
        own: What the prefix wrote, R rows.
        shared: What the R * `per_run` rows of the inputs read.
        layer: The layer's number.
        per_run: Rows that share a prefix.
    """
    cached: Any = own.layers[layer]
    shared.update(
        cached.keys.repeat_interleave(per_run, dim=0),
        cached.values.repeat_interleave(per_run, dim=0),
        layer,
    )
