"""Image towers of open_clip.

An encoder is named after the prefix `open_clip:` in one of these ways:
`ViT-B-32` (with the first of the model's published weights), `ViT-B-32:laion2b_s34b_b79k` (a tag),
`ViT-B-32:/models/weights.safetensors` (a file), `/models/my-clip` (a folder with
`open_clip_config.json` and its weights) or `hf-hub:owner/name` (such a folder on the hub).
"""

import functools
import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ...pretrained import files_sha256
from .base import EncoderOptions
from .image import ImageTower, PixelPlan, TowerEncoder, TowerPlan
from .open_clip_source import FAMILY, OpenClipSource, find_preprocessing, find_source


def load(spec: str, *, modality: str, options: EncoderOptions) -> TowerEncoder:
    """Return the encoder of an open_clip image tower; its weights are not loaded yet.

    Args:
        spec: What follows `open_clip:`.
        modality: Of pictures: its name.
        options: The user's choices.

    Raises:
        EncoderError: If it cannot be found, or a file is missing.
        UnknownName: If the model, its tag or a wanted field does not exist.
        UnsafeWeights: If it has its weights only as pickle.
    """
    source = find_source(spec, revision=options.revision)
    usual = ("pooler", "embedding") if source.is_transformer else ("pooler",)
    names = options.choose(usual=usual, valid=tuple(source.shapes), encoder=spec)
    plan = TowerPlan(
        name=f"{FAMILY}:{spec}",
        identity={
            "family": FAMILY,
            "id": source.name,
            "pretrained": source.pretrained,
            "revision": source.revision,
            "class": "VisionTransformer" if source.is_transformer else "other",
            "weights_sha256": files_sha256([source.weights]),
            "config_sha256": _config_sha256(source),
            "preprocessing": dict(source.preprocessing),
        },
        provenance={"weights": str(source.weights)},
        fields={name: source.shapes[name] for name in names},
        build=functools.cache(functools.partial(_build, source, options)),
        shortest_side=shortest_side(source.preprocessing),
    )
    return TowerEncoder(plan, modality=modality, options=options)


def shortest_side(preprocessing: Mapping[str, Any]) -> int | None:
    """Return the side to which the shorter one is scaled, None where both are given."""
    side = preprocessing["size"]
    shortest = preprocessing["resize_mode"] == "shortest" and isinstance(side, int)
    return side if shortest else None


def _build(source: OpenClipSource, options: EncoderOptions) -> ImageTower:
    from .open_clip_image_model import build_model

    return build_model(source, options)


def pixel_plan(spec: str, options: EncoderOptions) -> PixelPlan:
    """Return what resizes and crops pictures as a tower takes them; weights are not looked for."""
    name, preprocessing = find_preprocessing(spec, revision=options.revision)

    def make() -> Callable[[np.ndarray], np.ndarray]:
        from .open_clip_image_model import pixel_transform

        return pixel_transform(name, preprocessing)

    return PixelPlan(
        id=name,
        kind=FAMILY,
        preprocessing=preprocessing,
        shortest_side=shortest_side(preprocessing),
        make=make,
    )


def _config_sha256(source: OpenClipSource) -> str:
    said = {"embed_dim": source.embed_dim, "vision": source.vision, "gelu": source.quick_gelu}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()
