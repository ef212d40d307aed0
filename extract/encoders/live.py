"""Encoders that run live: differentiable in what they are given and in their weights."""

from typing import Protocol, runtime_checkable

import torch

from ...errors import EncoderError
from .audio import AudioEncoder
from .base import Encoder
from .image import TowerEncoder
from .tensors import Weights


@runtime_checkable
class DifferentiableModel(Protocol):
    """A built model of any family, in eval mode, none of its weights asking for gradients."""

    def weights(self) -> dict[str, torch.Tensor]:
        """Return all weights by name."""
        ...

    def live(
        self, decoded: torch.Tensor, field: str, weights: Weights | None = None
    ) -> torch.Tensor:
        """Return a field for decoded media; rescaling and normalising are part of it."""
        ...


class LiveEncoder:
    """An encoder from decoded media to vectors.

    One instance belongs to one thread: its weights are put in place for the length of a call.

    Attributes:
        id: The hub id, or a local folder's own name.
        field: Which of its outputs the vectors are.
        width: Their size.
    """

    def __init__(self, model: DifferentiableModel, *, id: str, field: str, width: int) -> None:  # noqa: A002
        self.id = id
        self.field = field
        self.width = width
        self._model = model

    def weights(self) -> dict[str, torch.Tensor]:
        """Return the pretrained weights by name, float32; the model's own tensors."""
        return {name: weight.detach() for name, weight in self._model.weights().items()}

    def __call__(self, decoded: torch.Tensor, weights: Weights | None = None) -> torch.Tensor:
        """Return the vectors of decoded media of one shape; rows do not affect each other.

        Args:
            decoded: `[N, C, H, W]` pixel values from 0 to 255 of images (or single frames) that
                were resized and cropped, or `[N, S]` samples from -1 to 1 at the encoder's rate;
                floating, so that gradients can reach them.
            weights: In place of the pretrained ones, some or all of them.

        Returns:
            `[N, width]` for one vector an image, else `[N, L, width]`.
        """
        return self._model.live(decoded, self.field, weights)


def build_live(encoder: Encoder, *, name: str) -> LiveEncoder:
    """Return an encoder of one field, built, as a live one.

    Args:
        encoder: One that computes something.
        name: By which the user knows it, for messages.

    Raises:
        EncoderError: If it gives decoded media.
    """
    model = encoder.built() if isinstance(encoder, TowerEncoder | AudioEncoder) else None
    if not isinstance(model, DifferentiableModel):
        raise EncoderError(f"encoder {name!r} gives decoded media; only what follows it runs live")
    (field,) = encoder.fields
    return LiveEncoder(
        model, id=str(encoder.identity["id"]), field=field.name, width=field.shape[-1]
    )
