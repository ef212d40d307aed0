"""What the trainer asks of an encoder that runs live: to be trained, or differentiated through.

The trainer knows no encoder; whoever calls it hands one over.
"""

from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np
import torch

from ..cache.store import FeatureSet, Packed

_IMAGES_AT_ONCE, _CLIPS_AT_ONCE = 32, 8


class TrainableEncoder(Protocol):
    """An encoder from decoded input to vectors, differentiable in its input and its weights.

    It is in evaluation mode (no dropout), in float32, and none of its own weights asks for
    gradients. `field` says which of its outputs the vectors are, `width` their size.
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


LoadLive = Callable[[FeatureSet, str], TrainableEncoder]
"""From a set of decoded media and one of its encoder's fields to that encoder."""


def encode_live(
    encoder: TrainableEncoder, packed: Packed, weights: Mapping[str, torch.Tensor]
) -> list[torch.Tensor]:
    """Return each cached row's vectors, [L, width] a row, differentiable in `weights`."""
    if packed.values.ndim == 1:
        return _encode_sound(encoder, packed, weights)
    pixels = torch.from_numpy(packed.values).split(_IMAGES_AT_ONCE)
    parts = [encoder(part.float(), weights) for part in pixels]
    rows = torch.cat(parts).split(np.diff(packed.offsets).tolist())
    return [row.flatten(0, -2) for row in rows]  # a frame may be a sequence of tokens


def _encode_sound(
    encoder: TrainableEncoder, packed: Packed, weights: Mapping[str, torch.Tensor]
) -> list[torch.Tensor]:
    """Return each clip's vectors; clips share a pass where they are of equal length."""
    lengths = np.diff(packed.offsets)
    vectors: dict[int, torch.Tensor] = {}
    for length in np.unique(lengths):
        alike = torch.from_numpy(np.flatnonzero(lengths == length))
        for rows in (part.tolist() for part in alike.split(_CLIPS_AT_ONCE)):
            samples = np.stack([packed[row] for row in rows])
            waveforms = torch.from_numpy(samples).float() / -float(np.iinfo(samples.dtype).min)
            vectors.update(zip(rows, encoder(waveforms, weights), strict=True))
    return [vectors[row] for row in range(len(packed))]
