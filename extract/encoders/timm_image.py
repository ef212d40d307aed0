"""Image towers of timm: ViT, EVA, ConvNeXt, ResNet, EfficientNet, MaxViT, ...

An encoder is named after the prefix `timm:` by a model of timm (`vit_tiny_patch16_224`, with the
first of its published weights, or `vit_tiny_patch16_224.augreg_in21k`), a hub id (`owner/name`) or
a folder with `config.json` and `model.safetensors`, as timm or transformers' `timm_wrapper` saves
them. Each tower is built once to see what it puts out.
"""

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import EncoderError, UnknownName
from ...pretrained import CONFIG_NAME, INDEX_NAME, Pretrained, dtype_named, folder_of, resolve
from .base import EncoderOptions
from .image import PixelPlan, TowerEncoder, composed, cropping

if TYPE_CHECKING:
    import torch

    from .built_model import BuiltModel

FAMILY = "timm"
MODEL_TYPE = "timm_wrapper"
_FILES = (CONFIG_NAME, "model*.safetensors", INDEX_NAME)
_WRAPPED = "timm_model."  # before the weights' names where transformers saved them

# timm's own defaults, written out so that they are part of what features are known by.
_PREPROCESSING: Mapping[str, Any] = {
    "input_size": [3, 224, 224],
    "interpolation": "bicubic",
    "mean": [0.485, 0.456, 0.406],
    "std": [0.229, 0.224, 0.225],
    "crop_pct": 0.875,
    "crop_mode": "center",
}


def is_timm(config: Mapping[str, Any]) -> bool:
    """Return whether a `config.json` is of timm, or of transformers' wrapper of it."""
    return "architecture" in config and config.get("model_type", MODEL_TYPE) == MODEL_TYPE


def load(spec: str, *, modality: str, options: EncoderOptions) -> TowerEncoder:
    """Return the encoder of a timm image tower, built."""
    checkpoint = _find(spec, options)
    pixels = _pixel_plan(checkpoint)
    model = _build(checkpoint, _transform(pixels.preprocessing), options)
    image = model.transform(np.zeros((*pixels.preprocessing["input_size"][1:], 3), np.uint8))
    names = options.choose(usual=("pooler",), valid=tuple(model.values), encoder=checkpoint.id)
    output = model.forward(image[None], names)
    return TowerEncoder(
        lambda: model,
        modality=modality,
        options=options,
        identity=checkpoint.identity(FAMILY, pixels.kind, pixels.preprocessing),
        provenance={"folder": str(checkpoint.folder)},
        shapes={name: output[name].shape[1:] for name in names},
        **pixels.needed(),
    )


def pixel_plan(spec: str, options: EncoderOptions) -> PixelPlan:
    """Return what resizes and crops pictures as a tower takes them."""
    return _pixel_plan(_find(spec, options))


def _pixel_plan(checkpoint: Pretrained) -> PixelPlan:
    config = checkpoint.config
    said = {**config, **(config.get("pretrained_cfg") or {})}
    given = {name: said[name] for name in _PREPROCESSING if said.get(name) is not None}
    preprocessing = {**_PREPROCESSING, **given}
    _, height, width = preprocessing["input_size"]
    whole = preprocessing["crop_mode"] != "center" or height != width
    scaled = tuple(math.floor(side / preprocessing["crop_pct"]) for side in (height, width))
    return PixelPlan(
        id=checkpoint.id,
        kind=str(config["architecture"]),
        preprocessing=preprocessing,
        shortest_side=None if whole else scaled[0],
        size=scaled,
        make=lambda: cropping(_transform(preprocessing)),
        revision=checkpoint.revision,
    )


def _find(spec: str, options: EncoderOptions) -> Pretrained:
    if "/" not in spec and folder_of(spec) is None:
        spec = _repository(spec)
    checkpoint = resolve(spec, revision=options.revision, patterns=_FILES)
    if not is_timm(checkpoint.config):
        raise EncoderError(
            f"encoder {FAMILY}:{spec}: {checkpoint.folder / CONFIG_NAME} names no architecture of "
            "timm; name it without the prefix"
        )
    return checkpoint


def _repository(name: str) -> str:
    """Return the hub id of a model's published weights."""
    import timm

    architecture, _, tag = name.partition(".")
    _check_architecture(architecture)
    published = timm.list_pretrained(f"{architecture}.*")
    if (name if tag else architecture) not in (*published, architecture) or not published:
        raise UnknownName(f"weights of {FAMILY}:{architecture}", name, published)
    return str(getattr(timm.get_pretrained_cfg(name), "hf_hub_id", None) or f"{FAMILY}/{name}")


def _check_architecture(name: str) -> None:
    import timm

    if not timm.is_model(name):
        raise UnknownName("timm model", name, timm.list_models())


def _transform(preprocessing: Mapping[str, Any]) -> Any:
    from timm.data.transforms_factory import create_transform

    return create_transform(**preprocessing, is_training=False)


def _build(checkpoint: Pretrained, compose: Any, options: EncoderOptions) -> "BuiltModel":
    """Return the tower, whose module gives its features and their pooled vector."""
    import timm
    from safetensors.torch import load_file

    from .built_model import BuiltModel, check_complete, loading

    architecture = str(checkpoint.config["architecture"])
    _check_architecture(architecture)
    with loading(checkpoint.id):
        arguments = checkpoint.config.get("model_args") or {}
        model: Any = timm.create_model(architecture, pretrained=False, num_classes=0, **arguments)
        state = {
            name.removeprefix(_WRAPPED): tensor
            for path in checkpoint.weights
            for name, tensor in load_file(path).items()
        }
        check_complete(checkpoint.id, model.load_state_dict(state, strict=False).missing_keys)
        model = model.to(dtype_named(options.compute_dtype))

    def forward(batch: "torch.Tensor") -> "tuple[torch.Tensor, torch.Tensor]":
        features = model.forward_features(batch)
        return features, model.forward_head(features, pre_logits=True)

    model.forward = forward  # torch's functional_call has no other way in
    return BuiltModel(model, options, values=_values(model), **composed(compose))


def _values(model: Any) -> "dict[str, Callable[[Any], torch.Tensor]]":
    """Return how each field is had of the features and the pooled vector."""
    channels_last = getattr(model, "output_fmt", None) == "NHWC"

    def tokens(output: Any) -> "torch.Tensor":
        features = output[0]
        if features.ndim == 3:
            return features
        return features.flatten(1, 2) if channels_last else features.flatten(2).transpose(1, 2)

    values: dict[str, Callable[[Any], torch.Tensor]] = {
        "pooler": lambda output: output[1],
        "average": lambda output: tokens(output).mean(dim=1),
        "sequence": tokens,
    }
    if getattr(model, "cls_token", None) is not None:
        values["cls"] = lambda output: output[0][:, 0]
    return values
