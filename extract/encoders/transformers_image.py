"""Image towers of Hugging Face transformers: ViT, CLIP, SigLIP, DINOv2, Swin, ConvNeXt, ..."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import EncoderError
from ...pretrained import Pretrained
from .base import EncoderOptions
from .image import PixelPlan, TowerEncoder, TowerPlan
from .towers import Layout, known_layout, tower_config

if TYPE_CHECKING:
    import torch

    from .image_model import ImageModel

FAMILY = "transformers-image"

#: The image processors of transformers exist twice, and differ by one grey level in places.
PROCESSOR_BACKEND = "torchvision"

_PROCESSOR_NOISE = frozenset(
    {"_valid_processor_keys", "auto_map", "feature_extractor_type", "processor_class", "device"}
)

# What a checkpoint may lack: a pooler that is not kept.
_POOLER_PREFIXES = ("pooler.", "head.")


def load(checkpoint: Pretrained, *, modality: str, options: EncoderOptions) -> TowerEncoder:
    """Return the encoder of a transformers image tower; its weights are not loaded yet.

    Raises:
        EncoderError: If the folder lacks a file, or the model is no image tower.
        UnsafeWeights: If it has its weights only as pickle.
        UnknownName: If a wanted field is not one that the tower gives.
    """
    config = tower_config(checkpoint)
    processor = checkpoint.processor("image_processor")
    build = functools.cache(functools.partial(build_model, checkpoint, options))
    layout = known_layout(checkpoint)
    if layout is None or "sequence" in (options.fields or ()):
        layout = probe(build(), checkpoint)
    names = options.choose(usual=layout.usual, valid=layout.valid, encoder=checkpoint.id)
    plan = TowerPlan(
        name=checkpoint.id,
        identity={
            "family": FAMILY,
            "id": checkpoint.id,
            "revision": checkpoint.revision,
            "class": config.get("model_type"),
            "weights_sha256": checkpoint.weights_sha256,
            "config_sha256": checkpoint.config_sha256,
            "preprocessing": processor_identity(processor),
        },
        provenance={"folder": str(checkpoint.folder)},
        fields={name: _shape(name, layout) for name in names},
        build=build,
        shortest_side=shortest_side(processor),
    )
    return TowerEncoder(plan, modality=modality, options=options)


def _shape(name: str, layout: Layout) -> tuple[int, ...]:
    if name == "sequence" and layout.tokens is not None:
        return (layout.tokens, layout.width)
    return (layout.width,)


def processor_identity(processor: Mapping[str, Any]) -> dict[str, Any]:
    """Return the preprocessing parameters that decide what the tower sees."""
    kept = {name: value for name, value in processor.items() if name not in _PROCESSOR_NOISE}
    return {**kept, "backend": PROCESSOR_BACKEND}


def shortest_side(processor: Mapping[str, Any]) -> int | None:
    """Return the side to which the shorter one is scaled, None where both are given."""
    size = processor.get("size")
    side = size.get("shortest_edge") if isinstance(size, Mapping) else None
    return side if isinstance(side, int) and processor.get("do_resize", True) else None


def pixel_plan(checkpoint: Pretrained) -> PixelPlan:
    """Return what resizes and crops pictures as a tower takes them."""
    processor = checkpoint.processor("image_processor")

    def make() -> Callable[[np.ndarray], np.ndarray]:
        built = _processor(checkpoint)
        return lambda pixels: _processed(built, pixels, do_rescale=False, do_normalize=False)

    return PixelPlan(
        id=checkpoint.id,
        kind=str(tower_config(checkpoint).get("model_type")),
        preprocessing=processor_identity(processor),
        shortest_side=shortest_side(processor),
        make=make,
    )


def build_model(checkpoint: Pretrained, options: EncoderOptions) -> "ImageModel":
    """Return the built tower with its image processor."""
    from ...devices import dtype_named
    from .image_model import ImageModel, ImageParts
    from .tensors import loading, quiet_transformers

    processor = _processor(checkpoint)
    with loading(checkpoint.id), quiet_transformers():
        module, missing = _load(checkpoint, dtype_named(options.compute_dtype))
    lost = sorted(name for name in missing if not name.startswith(_POOLER_PREFIXES))
    if lost:
        raise EncoderError(
            f"encoder {checkpoint.id!r}: the checkpoint lacks {len(lost)} of the model's tensors, "
            f"such as {lost[0]!r}; they would be random"
        )

    def normalise(pixels: "torch.Tensor") -> "torch.Tensor":
        return processor.rescale_and_normalize(
            pixels,
            do_rescale=bool(processor.do_rescale),
            rescale_factor=processor.rescale_factor,
            do_normalize=bool(processor.do_normalize),
            image_mean=processor.image_mean,
            image_std=processor.image_std,
        )

    transform = functools.partial(_processed, processor)
    return ImageModel(ImageParts(module, transform, normalise, _VALUES, missing), options=options)


def probe(model: "ImageModel", checkpoint: Pretrained) -> Layout:
    """Return the layout of a built tower: what it puts out for a black image.

    Raises:
        EncoderError: If it gives no vectors for an image.
    """
    import torch

    from .tensors import loading

    known = known_layout(checkpoint)
    image = model.transform(np.zeros((224, 224, 3), np.uint8))
    with loading(checkpoint.id), torch.inference_mode():
        output = model.outputs(torch.from_numpy(image)[None])
    states = getattr(output, "last_hidden_state", None)
    if states is None or states.ndim < 3:
        raise EncoderError(f"encoder {checkpoint.id!r} gives no vectors for an image")
    _, tokens, width = _sequence(output).shape
    if known is not None:
        return replace(known, tokens=tokens)
    pooled = getattr(output, "pooler_output", None)
    pooler = pooled is not None and pooled[0].numel() == width and not model.parts.missing
    names = (name.rpartition(".")[2] for name in checkpoint.tensor_names)
    cls = any(name in ("cls_token", "class_embedding", "class_token") for name in names)
    return Layout(width=width, pooler=pooler, cls=cls, tokens=tokens)


def _processor(checkpoint: Pretrained) -> Any:
    from transformers import AutoImageProcessor

    from .tensors import loading, quiet_transformers

    with loading(checkpoint.id), quiet_transformers():
        return AutoImageProcessor.from_pretrained(
            checkpoint.folder,
            backend=PROCESSOR_BACKEND,
            local_files_only=True,
            trust_remote_code=False,
        )


def _processed(processor: Any, pixels: np.ndarray, **choices: bool) -> np.ndarray:
    # Without the format, an image three pixels high would be taken for three channels.
    writeable = pixels if pixels.flags.writeable else pixels.copy()  # torch wants no other
    output = processor(
        images=writeable, input_data_format="channels_last", return_tensors="np", **choices
    )
    return np.asarray(output["pixel_values"][0])


def _load(checkpoint: Pretrained, dtype: "torch.dtype") -> tuple[Any, frozenset[str]]:
    from transformers import AutoConfig

    from .tensors import check_own_code, load_model

    check_own_code(checkpoint.id, checkpoint.config)
    config = AutoConfig.from_pretrained(
        checkpoint.folder, local_files_only=True, trust_remote_code=False
    )
    return load_model(checkpoint, getattr(config, "vision_config", None) or config, dtype)


def _sequence(output: Any) -> "torch.Tensor":
    """Return `[B, S, H]`, also where the model gives a map `[B, H, rows, columns]`."""
    states = output.last_hidden_state
    return states if states.ndim == 3 else states.flatten(2).transpose(1, 2)


_VALUES: dict[str, "Callable[[Any], torch.Tensor]"] = {
    "pooler": lambda output: output.pooler_output.flatten(1),
    "cls": lambda output: output.last_hidden_state[:, 0],
    "average": lambda output: _sequence(output).mean(dim=1),
    "sequence": _sequence,
}
