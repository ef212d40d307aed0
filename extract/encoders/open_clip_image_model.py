"""The part of the open_clip towers that needs torch; imported when a model is built."""

from typing import Any

import numpy as np
import open_clip
import torch
from open_clip import CLIPTextCfg, CLIPVisionCfg
from open_clip.convert import convert_state_dict
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from safetensors.torch import load_file

from ...errors import EncoderError
from .base import EncoderOptions
from .open_clip_image import OpenClipSource
from .tensors import (
    enough_memory,
    exact_float32,
    loading,
    parallel_passes,
    pick_device,
    torch_dtype,
)

_PREFIX = "visual."

# open_clip builds both towers; the text tower is thrown away, so it is made as small as can be.
_TINY_TEXT = CLIPTextCfg(context_length=4, vocab_size=8, width=8, heads=1, layers=1)


class OpenClipTower:
    """An open_clip image tower in eval mode, with its preprocessing.

    Args:
        source: configuration and weights.
        options: dtypes and device.
    """

    def __init__(self, source: OpenClipSource, *, options: EncoderOptions) -> None:
        self.device = pick_device(options.device)
        self.parallel = parallel_passes(self.device)
        self._compute = torch_dtype(options.compute_dtype)
        self._storage = torch_dtype(options.storage_dtype)
        with loading(source.name):
            self._transform: Any = image_transform_v2(
                PreprocessCfg(**dict(source.preprocessing)), is_train=False
            )
            self.model = _load(source)
        self.model.to(self.device, self._compute)
        self._states: torch.Tensor | None = None
        self._projection = None
        if source.is_transformer:
            self._split_projection()

    def transform(self, pixels: np.ndarray) -> np.ndarray:
        """Returns `[H, W, 3] uint8` as `[3, H, W] float32`, scaled, cropped and normalised."""
        return self._transform(Image.fromarray(pixels)).numpy()

    @torch.inference_mode()
    def forward(self, batch: np.ndarray, fields: tuple[str, ...]) -> dict[str, np.ndarray]:
        """Returns `[B, ...]` for each field, for pixel values `[B, 3, H, W] float32`."""
        with exact_float32(self.device, self._compute), enough_memory(len(batch)):
            inputs = torch.from_numpy(batch).to(self.device, self._compute)
            output = self.model(inputs)
            pooled = output[0] if isinstance(output, tuple) else output
            values = {name: self._value(name, pooled) for name in fields}
        self._states = None
        return {name: value.to(self._storage).cpu().numpy() for name, value in values.items()}

    def _value(self, name: str, pooled: torch.Tensor) -> torch.Tensor:
        if name == "pooler":
            return pooled
        if name == "embedding" and self._projection is not None:
            return pooled @ self._projection
        if self._states is None:
            raise EncoderError(f"this open_clip tower has no {name!r}")
        states = {"cls": self._states[:, 0], "average": self._states.mean(1)}
        return states.get(name, self._states)

    def _split_projection(self) -> None:
        """Takes the projection off the tower, and keeps the transformer's states."""
        projection = self.model.proj
        self.model.proj = None
        self._projection = None if projection is None else projection.detach()
        self.model.transformer.register_forward_hook(self._keep_states)

    def _keep_states(self, module: torch.nn.Module, inputs: Any, output: torch.Tensor) -> None:
        del module, inputs
        self._states = output


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
