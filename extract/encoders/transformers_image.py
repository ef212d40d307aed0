"""Image towers of Hugging Face transformers: ViT, CLIP, SigLIP, DINOv2, Swin, ConvNeXt, ...

What the usual architectures put out is read from their files, so that an encoder's fields are known
without building it. Any other image model that `AutoModel` can load is built and looked at.
"""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import EncoderError
from ...pretrained import Pretrained
from .base import EncoderOptions
from .image import PixelPlan, PixelTransform, TowerEncoder

if TYPE_CHECKING:
    import torch

    from .built_model import BuiltModel

FAMILY = "transformers-image"

#: The image processors of transformers exist twice, and differ by one grey level in places.
PROCESSOR_BACKEND = "torchvision"

_PROCESSOR_NOISE = frozenset(
    {"_valid_processor_keys", "auto_map", "feature_extractor_type", "processor_class", "device"}
)

#: Architectures with a class token, by what a meaningful `pooler_output` needs: the beginning of
#: its tensors' names, "cls" where it is the class token's vector again.
KNOWN: Mapping[str, str] = {
    "beit": "pooler.",
    "clip_vision_model": "post_layernorm.",
    "data2vec-vision": "pooler.",
    "deit": "pooler.",
    "dinov2": "cls",
    "dinov2_with_registers": "cls",
    "dinov3_vit": "cls",
    "vit": "pooler.",
    "vit_msn": "pooler.",
}

# Masked autoencoders drop patches at random in every forward pass.
_RANDOM = frozenset({"vit_mae", "videomae", "vit_hybrid_mae"})


@dataclass(frozen=True)
class Layout:
    """The shapes of an image tower's outputs.

    Attributes:
        width: H, the size of a vector.
        pooler: Whether it gives a meaningful `pooler_output`.
        cls: Whether its sequence starts with a class token.
        pooler_is_cls: Whether the two are the same vector.
        tokens: Length of the sequence; 0 where only building the model would tell.
    """

    width: int
    pooler: bool
    cls: bool
    pooler_is_cls: bool = False
    tokens: int = 0

    @property
    def valid(self) -> tuple[str, ...]:
        """The fields that can be kept."""
        absent = {"pooler": not self.pooler, "cls": not self.cls}
        return tuple(name for name in _VALUES if not absent.get(name, False))

    @property
    def usual(self) -> tuple[str, ...]:
        """The fields that are kept unless others are asked for."""
        if self.pooler and self.cls and not self.pooler_is_cls:
            return ("pooler", "cls")
        return self.valid[:1]


def tower_config(checkpoint: Pretrained) -> Mapping[str, Any]:
    """Return the configuration of an image tower; CLIP and others nest it as `vision_config`."""
    config: Mapping[str, Any] = checkpoint.config
    nested = config.get("vision_config")
    if isinstance(nested, Mapping):
        config = {"model_type": f"{checkpoint.model_type}_vision_model", **nested}
    if config.get("model_type") in _RANDOM:
        raise EncoderError(
            f"encoder {checkpoint.id!r}: {config['model_type']} masks patches at random, so its "
            "features differ from run to run; use a tower without masking"
        )
    return config


def known_layout(checkpoint: Pretrained) -> Layout | None:
    """Return a tower's layout from its files, or None where it has to be built to know."""
    config = tower_config(checkpoint)
    pooler = KNOWN.get(str(config.get("model_type")))
    if pooler is None or "hidden_size" not in config:
        return None
    again = pooler == "cls"
    stored = again or any(f".{pooler}" in f".{name}" for name in checkpoint.tensor_names)
    return Layout(int(config["hidden_size"]), pooler=stored, cls=True, pooler_is_cls=again)


def load(checkpoint: Pretrained, *, modality: str, options: EncoderOptions) -> TowerEncoder:
    """Return the encoder of a transformers image tower; its weights are not loaded yet."""
    pixels = pixel_plan(checkpoint)
    build = functools.cache(functools.partial(build_model, checkpoint, options))
    layout = known_layout(checkpoint)
    if layout is None or "sequence" in (options.fields or ()):
        layout = probe(build(), checkpoint)
    names = options.choose(usual=layout.usual, valid=layout.valid, encoder=checkpoint.id)
    whole = {"sequence": (layout.tokens, layout.width)}
    return TowerEncoder(
        build,
        modality=modality,
        options=options,
        identity=checkpoint.identity(FAMILY, pixels.kind, pixels.preprocessing),
        provenance={"folder": str(checkpoint.folder)},
        shapes={name: whole.get(name, (layout.width,)) for name in names},
        **pixels.needed(),
    )


def pixel_plan(checkpoint: Pretrained) -> PixelPlan:
    """Return what resizes and crops pictures as a tower takes them."""
    processor = checkpoint.processor("image_processor")
    kept = {name: value for name, value in processor.items() if name not in _PROCESSOR_NOISE}
    size = processor.get("size")
    given = size if isinstance(size, Mapping) and processor.get("do_resize", True) else {}
    side, height, width = (given.get(name) for name in ("shortest_edge", "height", "width"))

    return PixelPlan(
        id=checkpoint.id,
        kind=str(tower_config(checkpoint).get("model_type")),
        preprocessing={**kept, "backend": PROCESSOR_BACKEND},
        shortest_side=side if isinstance(side, int) else None,
        size=(height, width) if isinstance(height, int) and isinstance(width, int) else None,
        make=lambda: _cropping(_processor(checkpoint)),
        revision=checkpoint.revision,
    )


def build_model(checkpoint: Pretrained, options: EncoderOptions) -> "BuiltModel":
    """Return the built tower with its image processor."""
    from .built_model import BuiltModel, load_model, loading, splits

    processor = _processor(checkpoint)
    with loading(checkpoint.id):
        module, missing = load_model(checkpoint, options)

    names = ("do_rescale", "rescale_factor", "do_normalize", "image_mean", "image_std")
    chosen = {name: getattr(processor, name) for name in names}
    normalise = functools.partial(processor.rescale_and_normalize, **chosen)
    whole, cropped = functools.partial(_processed, processor), _cropping(processor)
    return BuiltModel(
        module,
        options,
        transform=cropped if splits(whole, cropped, normalise) else whole,
        normalise=normalise,
        values=_VALUES,
        missing=missing,
    )


def probe(model: "BuiltModel", checkpoint: Pretrained) -> Layout:
    """Return the layout of a built tower: what it puts out for a black image."""
    import torch

    from .built_model import loading

    image = model.transform(np.zeros((224, 224, 3), np.uint8))
    with loading(checkpoint.id), torch.inference_mode():
        output = model.outputs(model.inputs(image[None]))
    states = getattr(output, "last_hidden_state", None)
    if states is None or states.ndim < 3:
        raise EncoderError(f"encoder {checkpoint.id!r} gives no vectors for an image")
    _, tokens, width = _sequence(output).shape
    if (known := known_layout(checkpoint)) is not None:
        return replace(known, tokens=tokens)
    pooled = getattr(output, "pooler_output", None)
    pooler = pooled is not None and pooled[0].numel() == width and not model.missing
    names = (name.rpartition(".")[2] for name in checkpoint.tensor_names)
    cls = any(name in ("cls_token", "class_embedding", "class_token") for name in names)
    return Layout(width=width, pooler=pooler, cls=cls, tokens=tokens)


def _processor(checkpoint: Pretrained) -> Any:
    from transformers import AutoImageProcessor

    from .built_model import loading

    with loading(checkpoint.id):
        local: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
        return AutoImageProcessor.from_pretrained(
            checkpoint.folder, backend=PROCESSOR_BACKEND, **local
        )


def _cropping(processor: Any) -> PixelTransform:
    """Return a processor's steps before it rescales: `[H, W, 3] uint8` → `[C, H, W]`.

    Where they are the usual ones they are taken on a view of the picture, without copies of it.
    """
    import torch
    from transformers.image_processing_backends import TorchvisionBackend as Usual

    def transform(pixels: np.ndarray) -> np.ndarray:
        image = torch.from_numpy(_writeable(pixels)).permute(2, 0, 1)
        if processor.do_resize:
            image = processor.resize(image, processor.size, processor.resample)
        if processor.do_center_crop:
            image = processor.center_crop(image, processor.crop_size)
        return image.contiguous().numpy()

    own = type(processor)
    usual = own._preprocess is Usual._preprocess and own.preprocess is Usual.preprocess
    if usual and not processor.do_pad:
        return transform
    return functools.partial(_processed, processor, do_rescale=False, do_normalize=False)


def _processed(processor: Any, pixels: np.ndarray, **choices: bool) -> np.ndarray:
    # Without the format, an image three pixels high would be taken for three channels.
    output = processor(
        images=_writeable(pixels), input_data_format="channels_last", return_tensors="np", **choices
    )
    return np.asarray(output["pixel_values"][0])


def _writeable(pixels: np.ndarray) -> np.ndarray:
    return pixels if pixels.flags.writeable else pixels.copy()  # torch wants no other


def _sequence(output: Any) -> "torch.Tensor":
    """Return `[B, S, H]`, also where the model gives a map `[B, H, rows, columns]`."""
    states = output.last_hidden_state
    return states if states.ndim == 3 else states.flatten(2).transpose(1, 2)


#: The fields; `average` is the mean of the whole sequence.
_VALUES: dict[str, "Callable[[Any], torch.Tensor]"] = {
    "pooler": lambda output: output.pooler_output.flatten(1),
    "cls": lambda output: output.last_hidden_state[:, 0],
    "average": lambda output: _sequence(output).mean(dim=1),
    "sequence": _sequence,
}
