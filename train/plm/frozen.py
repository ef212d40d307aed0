"""What the trainer asks of a frozen language model, and what the families' adapters share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, Self, TypeVar

import numpy as np
import torch
from torch.nn.functional import layer_norm

from ...errors import PlmError
from ...frozen_linear import speed_up_linear
from .prefix import Prefix, spread_cache

if TYPE_CHECKING:
    from transformers import DynamicCache, PreTrainedModel, PreTrainedTokenizerBase

CountsWithin = Literal["segment", "sequence"]
TokenIds = Sequence[int] | np.ndarray
"""The token ids of one text, in a list or in an array [T]."""


@dataclass(frozen=True, slots=True)
class TokenBatch:
    """Texts as token ids [N, T] int64; `present` and `answer_at` as a `Segment` has them."""

    ids: torch.Tensor
    present: torch.Tensor
    answer_at: torch.Tensor | None = None


@dataclass(frozen=True, slots=True)
class Segment:
    """Vectors [N, L, H] of one modality, or of several, as a language model's layers take them.

    Attributes:
        present: [N, L] bool, False where padding.
        answer_at: [N] int64, the place of the mask that the answer is filled into; None where a
            decoder writes the answer.
        ragged: Whether any of it may be padding, as the host knows without asking the device.
    """

    vectors: torch.Tensor
    present: torch.Tensor
    answer_at: torch.Tensor | None = None
    ragged: bool = True

    @classmethod
    def whole(cls, vectors: torch.Tensor) -> Self:
        """Return a segment [N, L, H] without padding."""
        present = torch.ones(vectors.shape[:2], dtype=torch.bool, device=vectors.device)
        return cls(vectors, present, ragged=False)


class Encoded:
    """What a language model made of N fused sequences; its adapter alone opens it."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class EncoderStates(Segment, Encoded):
    """What an encoder made of N fused sequences: vectors [N, S, H].

    Attributes:
        prefix: What stands before each of a run's N / R rows; None for nothing. Neither `vectors`
            nor `present` nor `answer_at` count it.
    """

    prefix: Prefix | None = None


EncodedT = TypeVar("EncodedT", bound=Encoded)


class PLM(ABC, Generic[EncodedT]):
    """A frozen pretrained language model in evaluation mode; no parameter asks for gradients.

    A family's adapter says what is added for positions and how it answers, and names four parts.

    Attributes:
        family: A key of `PLMS`.
        identity: What a run's record says of the model.
        counts_within: What positions are counted over: each segment, or the whole sequence.
        max_positions: The longest segment, or None where there is no limit.
        model_class: The transformers class of the model with its language modelling head.
        tokens_at: Where the model has the layer from token ids to vectors as the encoder scales
            them, as `Module.get_submodule` takes it.
        layers_at: Where it has the encoder's layers.
        norm_at: Where it has the norm that follows the positions; None without one.
        overflows_in: The dtypes that its activations overflow.
    """

    family: str
    model_class: ClassVar[type[PreTrainedModel]]
    tokens_at: ClassVar[str]
    layers_at: ClassVar[str]
    norm_at: ClassVar[str | None] = None
    overflows_in: ClassVar[tuple[torch.dtype, ...]] = ()
    counts_within: CountsWithin = "segment"

    def __init__(
        self, model: Any, tokenizer: PreTrainedTokenizerBase, identity: dict[str, Any] | None = None
    ) -> None:
        if model.dtype in self.overflows_in:
            kind, name = type(self).__name__.removesuffix("PLM"), str(model.dtype)[6:]
            raise PlmError(f"{kind} overflows in {name}; load it in bfloat16 or float32")
        self.model: Any = model.eval().requires_grad_(False)
        if model.device.type == "cpu" and model.dtype == torch.bfloat16:
            model.set_attn_implementation("eager")  # SDPA's bfloat16 is far slower here, backwards
        speed_up_linear(self.model)
        if model.can_generate():  # else a call takes what it leaves unset (beams, …) from the model
            self.model.generation_config = type(model.generation_config)()
        self.tokenizer = tokenizer
        self.identity: dict[str, Any] = identity or {}
        self._label_ids: dict[tuple[str, ...], torch.Tensor] = {}
        self.hidden_size: int = model.config.hidden_size
        self.max_positions: int | None = getattr(model.config, "max_position_embeddings", None)
        self.tokens: Any = model.get_submodule(self.tokens_at)
        self.layers: Any = model.get_submodule(self.layers_at)
        for number, layer in enumerate(self.layers):
            for part in layer.modules():
                if hasattr(part, "layer_idx"):  # some families number their decoder's alone
                    part.layer_idx = number
        self.segment_norm: Any = self.norm_at and model.get_submodule(self.norm_at)

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
    def norm(self) -> tuple[torch.Tensor, torch.Tensor] | None:
        """The scale and shift [H] of the norm of every segment; None without one."""
        norm = self.segment_norm
        return None if norm is None else (norm.weight, norm.bias)

    @abstractmethod
    def tokenise(self, texts: Sequence[str]) -> list[list[int]]:
        """Return each text's ids with special tokens or template, cut to `max_positions`."""

    def tokenise_answers(self, answers: Sequence[str]) -> list[list[int]]:
        """Return each answer's ids as `answer_loss` takes them."""
        return self.tokenise(answers)

    @abstractmethod
    def answer_loss(
        self, encoded: EncodedT, answers: Sequence[TokenIds]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return each example's summed cross-entropy [N] and its number of scored tokens [N]."""

    @abstractmethod
    def label_logits(self, encoded: EncodedT, label_ids: torch.Tensor) -> torch.Tensor:
        """Return logits [N, C] float32 of the label words at the first answer position."""

    @abstractmethod
    def generate(self, encoded: EncodedT, *, max_new_tokens: int) -> list[str]:
        """Return the greedy answer to each example, the end token not counted."""

    def answerable(self, answers: Sequence[str], answer_types: Sequence[str | None]) -> list[bool]:  # noqa: ARG002
        """Return whether the model can give each answer, of a type such as VQAv2's "yes/no"."""
        return [True] * len(answers)

    def pad(self, ids: Sequence[TokenIds]) -> TokenBatch:
        """Return ids padded on the right to the longest: [N, T] int64 and bool."""
        lengths = np.array([len(row) for row in ids], dtype=np.int64)
        present = np.arange(max(lengths, default=0)) < lengths[:, None]
        padded = np.full(present.shape, self.model.config.pad_token_id, dtype=np.int64)
        padded[present] = np.concatenate([*ids, ()], dtype=np.int64, casting="unsafe")
        return TokenBatch(self.on_device(padded), self.on_device(present))

    def on_device(self, values: np.ndarray) -> torch.Tensor:
        """Return values as a tensor beside the weights; a GPU is not waited for."""
        tensor = torch.from_numpy(values)
        if self.device.type != "cuda":
            return tensor.to(self.device)
        return tensor.pin_memory().to(self.device, non_blocking=True)

    def label_ids(self, labels: Sequence[str]) -> torch.Tensor:
        """Return each label's first token id [C], without a leading space."""
        if (told := tuple(labels)) in self._label_ids:
            return self._label_ids[told]
        ids = [self.tokenizer(label, add_special_tokens=False).input_ids[0] for label in labels]
        if len(set(ids)) < len(ids):
            raise PlmError(
                f"the labels {list(labels)} do not differ in their first token under this "
                "tokenizer; choose label words that do"
            )
        with torch.inference_mode(False):  # whoever asks first
            self._label_ids[told] = torch.tensor(ids, device=self.device)
        return self._label_ids[told]

    def readable(self, ids: Sequence[int]) -> list[str]:
        """Return each token as people read it, without the mark of a word's beginning."""
        return [str(self.tokenizer.decode([token])).strip() or "␣" for token in ids]

    def embed_tokens(self, ids: torch.Tensor) -> torch.Tensor:
        """Return [N, T, H]: token embeddings as the encoder scales them, before positions."""
        return self.tokens(ids)

    def token_vectors(self) -> torch.Tensor:
        """Return [W, H]: every token's embedding, as `embed_tokens` gives it."""
        return self.embed_tokens(torch.arange(self.tokens.num_embeddings, device=self.device))

    def place(self, vectors: torch.Tensor) -> torch.Tensor:
        """Return [N, L, H] with positions 0..L-1, each vector to mean 0 and variance 1.

        A model that has no such positions, or no such norm, leaves that out.
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

    @abstractmethod
    def lend(self, prompts: torch.Tensor, present: torch.Tensor | None = None) -> Prefix:
        """Return embedded prompts [R, P, H] run through all layers, for any number of batches.

        Where shorter ones were padded behind, `present` [R, P] bool is False.
        """

    @abstractmethod
    def encode(
        self, inputs: Segment, mask: torch.Tensor, *, prefix: Prefix | None = None
    ) -> EncodedT:
        """Return the embedded inputs [N, S, H] as encoded under an additive mask [N, 1, 1 or S, S].

        A prefix of R runs stands before each of their N / R rows, whose mask is then
        [N, 1, 1 or S, P + S].
        """


class EncoderPLM(PLM[EncoderStates]):
    """A frozen language model with an encoder, whose layers are run by hand; see `PLM`."""

    def lend(self, prompts: torch.Tensor, present: torch.Tensor | None = None) -> Prefix:
        """Return what the encoder makes of prompts that see themselves alone; see `PLM.lend`."""
        own, mask = spread_cache((), 0), None
        if present is not None:
            if self.counts_within == "sequence":  # what follows a prompt stands right behind it
                order = present.to(torch.uint8).argsort(dim=1, stable=True)
                prompts = prompts.take_along_dim(order[..., None], dim=1)
                present = present.gather(1, order)
            mask = additive(present[:, None, None], dtype=prompts.dtype)
        *_, hidden = self._through(prompts, mask, own)
        layers: Any = own.layers
        kept = [(layer.keys, layer.values) for layer in layers]
        return Prefix(self._finished(hidden), kept, present=present)

    def encode(
        self, inputs: Segment, mask: torch.Tensor, *, prefix: Prefix | None = None
    ) -> EncoderStates:
        """Return the states after the last layer; see `PLM.encode`."""
        shared = None if prefix is None else spread_cache(prefix.layers, len(inputs.vectors))
        *_, hidden = self._through(inputs.vectors, mask, shared)
        return EncoderStates(
            self._finished(hidden), inputs.present, inputs.answer_at, prefix=prefix
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


def additive(allowed: torch.Tensor, *, dtype: torch.dtype) -> torch.Tensor:
    """Return 0 where `allowed` (bool, any shape) and the dtype's minimum elsewhere."""
    mask = torch.zeros(allowed.shape, dtype=dtype, device=allowed.device)
    return mask.masked_fill_(~allowed, torch.finfo(dtype).min)


def chosen_logits(
    hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, ids: torch.Tensor
) -> torch.Tensor:
    """Return the logits of words `ids` [C], [N, C] float32, whatever the model's dtype.

    The head reads `hidden` [N, H]; `weight` [W, H] and `bias` [W], or None, are its own.
    """
    logits = hidden.float() @ weight[ids].float().T
    return logits if bias is None else logits + bias[ids].float()
