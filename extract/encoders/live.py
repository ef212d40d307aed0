"""Encoders that run live: differentiable in what they are given and in their weights."""

import torch

from ...errors import EncoderError
from .base import Encoder
from .built_model import BuiltModel, Weights


class LiveEncoder:
    """An encoder from decoded media to vectors.

    One instance belongs to one thread: its weights are put in place for the length of a call.

    Args:
        encoder: One of one field, which computes something.
        name: By which the user knows it, for messages.

    Attributes:
        id: The hub id, or a local folder's own name.
        field: Which of its outputs the vectors are.
        width: Their size.

    Raises:
        EncoderError: If the encoder gives decoded media.
    """

    def __init__(self, encoder: Encoder, *, name: str) -> None:
        model = getattr(encoder, "model", None)
        if not isinstance(model, BuiltModel):
            raise EncoderError(
                f"encoder {name!r} gives decoded media; only what follows it runs live"
            )
        (field,) = encoder.fields
        self.id = str(encoder.identity["id"])
        self.field = field.name
        self.width = field.shape[-1]
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
