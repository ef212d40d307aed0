"""The part of the open_clip towers that needs torch; imported when a model is built."""

import threading
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import open_clip
import torch
from open_clip import CLIPTextCfg, CLIPVisionCfg
from open_clip.convert import convert_state_dict
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from safetensors.torch import load_file

from ...devices import device_named, dtype_named
from ...errors import EncoderError
from .base import EncoderOptions
from .open_clip_image import OpenClipSource
from .tensors import (
    Weights,
    enough_memory,
    exact_float32,
    loading,
    parallel_passes,
)

_PREFIX = "visual."
_PROJECTION = "proj"

# open_clip builds both towers; the text tower is thrown away, so it is made as small as can be.
_TINY_TEXT = CLIPTextCfg(context_length=4, vocab_size=8, width=8, heads=1, layers=1)


class OpenClipTower:
    """An open_clip image tower in eval mode, with its preprocessing.

    Args:
        source: configuration and weights.
        options: dtypes and device.
    """

    def __init__(self, source: OpenClipSource, *, options: EncoderOptions) -> None:
        self.device = device_named(options.device)
        self.parallel = parallel_passes(self.device)
        self._compute = dtype_named(options.compute_dtype)
        self._storage = dtype_named(options.storage_dtype)
        self._transform = _transform(source.name, source.preprocessing)
        with loading(source.name):
            self.model = _load(source)
        self.model.to(self.device, self._compute)
        self._kept = threading.local()  # passes run side by side
        self._projection: torch.Tensor | None = None
        if source.is_transformer:
            self._split_projection()

    def transform(self, pixels: np.ndarray) -> np.ndarray:
        """Returns `[H, W, 3] uint8` as `[3, H, W] float32`, scaled, cropped and normalised."""
        return self._transform(Image.fromarray(pixels)).numpy()

    @torch.inference_mode()
    def forward(self, batch: np.ndarray, fields: tuple[str, ...]) -> dict[str, np.ndarray]:
        """Returns `[B, ...]` for each field, for pixel values `[B, 3, H, W] float32`."""
        values = self._values(torch.from_numpy(batch), fields, {})
        return {name: value.to(self._storage).cpu().numpy() for name, value in values.items()}

    def weights(self) -> dict[str, torch.Tensor]:
        """Returns all weights by name, the projection's too."""
        own = dict(self.model.named_parameters())
        return own if self._projection is None else {**own, _PROJECTION: self._projection}

    def live(
        self, decoded: torch.Tensor, field: str, weights: Weights | None = None
    ) -> torch.Tensor:
        """Returns a field for pixels `[B, 3, H, W]` from 0 to 255, resized and cropped already."""
        normalise = self._transform.transforms[-1]
        inputs = normalise(decoded.to(self.device, torch.float32) / 255)
        return self._values(inputs, (field,), weights or {})[field]

    def _values(
        self, batch: torch.Tensor, fields: tuple[str, ...], weights: Weights
    ) -> dict[str, torch.Tensor]:
        own = dict(weights)
        projection = own.pop(_PROJECTION, self._projection)
        with exact_float32(self.device, self._compute), enough_memory(len(batch)):
            inputs = batch.to(self.device, self._compute)
            output = torch.func.functional_call(self.model, own, (inputs,))
            pooled = output[0] if isinstance(output, tuple) else output
            states = self._kept.__dict__.pop("states", None)
            return {name: _value(name, pooled, states, projection) for name in fields}

    def _split_projection(self) -> None:
        """Takes the projection off the tower, and keeps the transformer's states."""
        projection = self.model.proj
        self.model.proj = None
        self._projection = None if projection is None else projection.detach()
        self.model.transformer.register_forward_hook(self._keep_states)

    def _keep_states(self, module: torch.nn.Module, inputs: Any, output: torch.Tensor) -> None:
        del module, inputs
        self._kept.states = output


def pixel_transform(
    name: str, preprocessing: Mapping[str, Any]
) -> Callable[[np.ndarray], np.ndarray]:
    """Returns what resizes and crops `[H, W, 3] uint8` to `[3, H, W] uint8`, and no more."""
    *steps, _to_tensor, _normalise = _transform(name, preprocessing).transforms

    def transform(pixels: np.ndarray) -> np.ndarray:
        image: Any = Image.fromarray(pixels)
        for step in steps:
            image = step(image)
        return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1))

    return transform


def _transform(name: str, preprocessing: Mapping[str, Any]) -> Any:
    """Returns open_clip's own preprocessing: resize, crop, to RGB, to a tensor, normalise."""
    with loading(name):
        return image_transform_v2(PreprocessCfg(**dict(preprocessing)), is_train=False)


def _value(
    name: str,
    pooled: torch.Tensor,
    states: torch.Tensor | None,
    projection: torch.Tensor | None,
) -> torch.Tensor:
    if name == "pooler":
        return pooled
    if name == "embedding" and projection is not None:
        return pooled @ projection
    if states is None:
        raise EncoderError(f"this open_clip tower has no {name!r}")
    return {"cls": states[:, 0], "average": states.mean(1)}.get(name, states)


def _load(source: OpenClipSource) -> Any:
    model = open_clip.CustomTextCLIP(
        embed_dim=source.embed_dim,
        vision_cfg=CLIPVisionCfg(**{**source.vision, "timm_model_pretrained": False}),
        text_cfg=_TINY_TEXT,
        quick_gelu=source.quick_gelu,
    )
    state = load_file(source.weights)
    if not any(name.startswith(_PREFIX) for name in state):
        state = convert_state_dict(model, state)
    visual = {n.removeprefix(_PREFIX): t for n, t in state.items() if n.startswith(_PREFIX)}
    if not visual:
        raise EncoderError(f"{source.weights}: holds no tensor of an image tower (visual.*)")
    model.visual.load_state_dict(visual, strict=True)
    return model.visual.eval().requires_grad_(False)
