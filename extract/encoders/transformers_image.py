"""Image towers of Hugging Face transformers: ViT, CLIP, SigLIP, DINOv2, Swin, ConvNeXt, ..."""

import functools
from collections.abc import Mapping
from typing import Any

from ...errors import EncoderError
from ...pretrained import Pretrained
from .base import EncoderOptions
from .image import ImageTower, TowerEncoder, TowerPlan
from .towers import Layout, known_layout, tower_config

FAMILY = "transformers-image"

#: The image processors of transformers exist twice, and differ by one grey level in places.
PROCESSOR_BACKEND = "torchvision"

_PROCESSOR_NOISE = frozenset(
    {"_valid_processor_keys", "auto_map", "feature_extractor_type", "processor_class", "device"}
)


def load(checkpoint: Pretrained, *, modality: str, options: EncoderOptions) -> TowerEncoder:
    """Returns the encoder of a transformers image tower; its weights are not loaded yet.

    Raises:
        EncoderError: the folder lacks a file, or the model is no image tower.
        UnsafeWeights: it has its weights only as pickle.
        UnknownName: a wanted field is not one that the tower gives.
    """
    config = tower_config(checkpoint)
    processor = checkpoint.processor("image_processor")
    build = functools.cache(functools.partial(_build, checkpoint, options))
    layout = known_layout(checkpoint)
    if layout is None or "sequence" in (options.fields or ()):
        layout = _probed(build(), checkpoint)
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


def _build(checkpoint: Pretrained, options: EncoderOptions) -> ImageTower:
    from .transformers_image_model import TransformersTower

    return TransformersTower(checkpoint, options=options)


def _probed(tower: ImageTower, checkpoint: Pretrained) -> Layout:
    from .transformers_image_model import TransformersTower, probe

    if not isinstance(tower, TransformersTower):
        raise EncoderError(f"encoder {checkpoint.id!r} is not an image tower of transformers")
    return probe(tower, checkpoint)


def _shape(name: str, layout: Layout) -> tuple[int, ...]:
    if name == "sequence" and layout.tokens is not None:
        return (layout.tokens, layout.width)
    return (layout.width,)


def processor_identity(processor: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the preprocessing parameters that decide what the tower sees."""
    kept = {name: value for name, value in processor.items() if name not in _PROCESSOR_NOISE}
    return {**kept, "backend": PROCESSOR_BACKEND}


def shortest_side(processor: Mapping[str, Any]) -> int | None:
    """Returns the side to which the shorter one is scaled, None where both are given."""
    size = processor.get("size")
    side = size.get("shortest_edge") if isinstance(size, Mapping) else None
    return side if isinstance(side, int) and processor.get("do_resize", True) else None
