"""An image model that was built, of whichever family; it needs torch."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from ...devices import device_named, dtype_named
from .base import EncoderOptions
from .tensors import Weights, enough_memory, exact_float32, parallel_passes


@dataclass(frozen=True)
class ImageParts:
    """What a family knows of its model.

    Attributes:
        module: The model in eval mode and in the compute dtype, none of its weights asking for
            gradients; it takes pixel values `[B, C, H, W]`.
        transform: The whole preprocessing: `[H, W, 3] uint8` → `[C, H, W] float32`.
        normalise: The end of it: `[B, C, H, W] float32` from 0 to 255, resized and cropped → pixel
            values, differentiable.
        values: By field, from the module's output to `[B, …]`.
        missing: Weights that the files lack, and the module can do without.
    """

    module: torch.nn.Module
    transform: Callable[[np.ndarray], np.ndarray]
    normalise: Callable[[torch.Tensor], torch.Tensor]
    values: Mapping[str, Callable[[Any], torch.Tensor]]
    missing: frozenset[str] = field(default_factory=frozenset)


class ImageModel:
    """A built image model with its preprocessing.

    Args:
        parts: What its family knows.
        options: Dtypes and device.
    """

    def __init__(self, parts: ImageParts, *, options: EncoderOptions) -> None:
        self.parts = parts
        self.device = device_named(options.device)
        self.parallel = parallel_passes(self.device)
        self._compute = dtype_named(options.compute_dtype)
        self._storage = dtype_named(options.storage_dtype)
        parts.module.to(self.device)

    def transform(self, pixels: np.ndarray) -> np.ndarray:
        """Return `[H, W, 3] uint8` as `[C, H, W] float32`, scaled, cropped and normalised."""
        return self.parts.transform(pixels)

    @torch.inference_mode()
    def forward(self, batch: np.ndarray, fields: tuple[str, ...]) -> dict[str, np.ndarray]:
        """Return `[B, …]` for each field, for pixel values `[B, C, H, W] float32`."""
        output = self.outputs(torch.from_numpy(batch))
        return {
            name: self.parts.values[name](output).to(self._storage).cpu().numpy() for name in fields
        }

    def outputs(self, batch: torch.Tensor, weights: Weights | None = None) -> Any:
        """Return the module's own output for pixel values `[B, C, H, W]`, differentiable."""
        with exact_float32(self.device, self._compute), enough_memory(len(batch)):
            inputs = batch.to(self.device, self._compute)
            return torch.func.functional_call(self.parts.module, dict(weights or {}), (inputs,))

    def weights(self) -> dict[str, torch.Tensor]:
        """Return all weights by name."""
        return dict(self.parts.module.named_parameters())

    def live(
        self, decoded: torch.Tensor, field: str, weights: Weights | None = None
    ) -> torch.Tensor:
        """Return a field for pixels `[B, C, H, W]` from 0 to 255, resized and cropped already."""
        inputs = self.parts.normalise(decoded.to(self.device, torch.float32))
        return self.parts.values[field](self.outputs(inputs, weights))
