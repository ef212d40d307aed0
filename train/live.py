"""What the trainer asks of an encoder that runs live: to be trained, or differentiated through.

The trainer knows no encoder; whoever calls it hands one over.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import torch


class LiveEncoder(Protocol):
    """An encoder from decoded input to vectors, differentiable in its input and its weights.

    It is in evaluation mode (no dropout), in float32, and none of its own weights asks for
    gradients.

    Attributes:
        id: The hub id, or a local folder's own name.
        field: Which of its outputs the vectors are, such as "pooler".
        width: Their size.
    """

    id: str
    field: str
    width: int

    def weights(self) -> dict[str, torch.Tensor]:
        """Return the pretrained weights by name, float32."""
        ...

    def __call__(
        self, decoded: torch.Tensor, weights: Mapping[str, torch.Tensor] | None = None
    ) -> torch.Tensor:
        """Return the vectors of decoded media of one shape; rows do not affect each other.

        Args:
            decoded: [N, C, H, W] pixel values from 0 to 255 of images (or single frames) that
                were resized and cropped, or [N, S] samples from -1 to 1 at the encoder's rate;
                floating, so that gradients can reach them.
            weights: In place of the pretrained ones.

        Returns:
            [N, width] for one vector an image, else [N, L, width].
        """
        ...
