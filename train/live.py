"""What the trainer asks of an encoder that runs live: to be trained, or differentiated through.

The trainer knows no encoder; whoever calls it hands one over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np
import torch

from ..cache.store import FeatureSet, Packed

_IMAGES_AT_ONCE, _CLIPS_AT_ONCE = 32, 8


class TrainableEncoder(Protocol):
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


LoadLive = Callable[[FeatureSet, str], TrainableEncoder]
"""From a set of decoded media and one of its encoder's fields to that encoder."""


def encode_live(
    encoder: TrainableEncoder, packed: Packed, weights: Mapping[str, torch.Tensor]
) -> list[torch.Tensor]:
    """Return each row's vectors, [L, width] a row, differentiable in `weights`.

    Args:
        encoder: What makes the vectors.
        packed: Rows of pixels or of samples, as they are cached.
        weights: In place of the pretrained ones; none leaves those.
    """
    if packed.values.ndim == 1:
        return _encode_sound(encoder, packed, weights)
    parts = [
        encoder(torch.from_numpy(packed.values[part]).float(), weights)
        for part in _slices(len(packed.values), _IMAGES_AT_ONCE)
    ]
    rows = torch.cat(parts).split(np.diff(packed.offsets).tolist())
    return [row.flatten(0, -2) for row in rows]  # a frame may be a sequence of tokens


def _encode_sound(
    encoder: TrainableEncoder, packed: Packed, weights: Mapping[str, torch.Tensor]
) -> list[torch.Tensor]:
    """Return each clip's vectors; clips share a pass where they are of equal length."""
    lengths = np.diff(packed.offsets)
    vectors: dict[int, torch.Tensor] = {}
    for length in np.unique(lengths):
        alike = np.flatnonzero(lengths == length).tolist()
        for part in _slices(len(alike), _CLIPS_AT_ONCE):
            batch = _waveforms([packed[row] for row in alike[part]])
            vectors.update(zip(alike[part], encoder(batch, weights), strict=True))
    return [vectors[row] for row in range(len(packed))]


def _waveforms(clips: Sequence[np.ndarray]) -> torch.Tensor:
    """Return samples from -1 to 1, [N, S] float32."""
    samples = np.stack(clips)
    return torch.from_numpy(samples).float() / -float(np.iinfo(samples.dtype).min)


def _slices(total: int, size: int) -> Iterator[slice]:
    return (slice(start, start + size) for start in range(0, total, size))
