"""The part of the open_clip towers that needs torch; imported when a model is built."""

import threading
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import open_clip
import torch
from open_clip import CLIPTextCfg, CLIPVisionCfg
from open_clip.convert import convert_state_dict
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from safetensors.torch import load_file

from ...devices import dtype_named
from ...errors import EncoderError
from .base import EncoderOptions
from .image_model import ImageModel, ImageParts
from .open_clip_source import OpenClipSource
from .tensors import loading

_PREFIX = "visual."

# open_clip builds both towers; the text tower is thrown away, so it is made as small as can be.
_TINY_TEXT = CLIPTextCfg(context_length=4, vocab_size=8, width=8, heads=1, layers=1)


class _Output(NamedTuple):
    """What a tower gives: its vector, and of a transformer what is before the projection too."""

    pooled: torch.Tensor
    states: Any = None
    projection: Any = None


class _Tower(torch.nn.Module):
    """A tower; a transformer's projection is taken off it, and its last states are kept."""

    def __init__(self, visual: Any, *, transformer: bool) -> None:
        super().__init__()
        self.visual = visual
        self.proj: torch.nn.Parameter | None = None
        self._kept = threading.local()  # passes run side by side
        if transformer:
            self.proj, visual.proj = visual.proj, None
            visual.transformer.register_forward_hook(self._keep)

    def _keep(self, module: torch.nn.Module, inputs: Any, output: torch.Tensor) -> None:
        del module, inputs
        self._kept.states = output

    def forward(self, batch: torch.Tensor) -> _Output:
        output = self.visual(batch)
        pooled = output[0] if isinstance(output, tuple) else output
        return _Output(pooled, self._kept.__dict__.pop("states", None), self.proj)


def build_model(source: OpenClipSource, options: EncoderOptions) -> ImageModel:
    """Return the built tower with its preprocessing."""
    preprocess = _transform(source.name, source.preprocessing)
    with loading(source.name):
        visual = _load(source).to(dtype_named(options.compute_dtype))
    return ImageModel(
        ImageParts(
            module=_Tower(visual, transformer=source.is_transformer),
            transform=lambda pixels: preprocess(Image.fromarray(pixels)).numpy(),
            normalise=lambda pixels: preprocess.transforms[-1](pixels / 255),
            values=_VALUES,
        ),
        options=options,
    )


def pixel_transform(
    name: str, preprocessing: Mapping[str, Any]
) -> Callable[[np.ndarray], np.ndarray]:
    """Return what resizes and crops `[H, W, 3] uint8` to `[3, H, W] uint8`, and no more."""
    *steps, _to_tensor, _normalise = _transform(name, preprocessing).transforms

    def transform(pixels: np.ndarray) -> np.ndarray:
        image: Any = Image.fromarray(pixels)
        for step in steps:
            image = step(image)
        return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1))

    return transform


def _transform(name: str, preprocessing: Mapping[str, Any]) -> Any:
    """Return open_clip's own preprocessing: resize, crop, to RGB, to a tensor, normalise."""
    with loading(name):
        return image_transform_v2(PreprocessCfg(**dict(preprocessing)), is_train=False)


_VALUES: dict[str, Callable[[_Output], Any]] = {
    "pooler": lambda output: output.pooled,
    "embedding": lambda output: output.pooled @ output.projection,
    "cls": lambda output: output.states[:, 0],
    "average": lambda output: output.states.mean(1),
    "sequence": lambda output: output.states,
}


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
