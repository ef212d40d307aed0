"""Image towers of open_clip.

An encoder is named after the prefix `open_clip:` in one of these ways:
`ViT-B-32` (with the first of the model's published weights), `ViT-B-32:laion2b_s34b_b79k` (a tag),
`ViT-B-32:/models/weights.safetensors` (a file), `/models/my-clip` (a folder with
`open_clip_config.json` and its weights) or `hf-hub:owner/name` (such a folder on the hub).
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from ...errors import EncoderError
from ...pretrained import dtype_named, files_sha256
from .base import EncoderOptions
from .image import PixelPlan, TowerEncoder, TowerPlan, composed, cropping
from .open_clip_source import FAMILY, OpenClipSource, find_source

if TYPE_CHECKING:
    from .built_model import BuiltModel

_PREFIX = "visual."

# open_clip builds both towers; the text tower is thrown away, so it is made as small as can be.
_TINY: Mapping[str, Any] = dict(context_length=4, vocab_size=8, width=8, heads=1, layers=1)  # noqa: C408


class _Output(NamedTuple):
    """What a tower gives: its vector, and of a transformer what is before the projection too."""

    pooled: Any
    states: Any = None
    projection: Any = None


_VALUES: dict[str, Callable[[_Output], Any]] = {
    "pooler": lambda output: output.pooled,
    "embedding": lambda output: output.pooled @ output.projection,
    "cls": lambda output: output.states[:, 0],
    "average": lambda output: output.states.mean(1),
    "sequence": lambda output: output.states,
}


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
    weights, revision = source.weights
    usual = ("pooler", "embedding") if source.is_transformer else ("pooler",)
    names = options.choose(usual=usual, valid=tuple(source.shapes), encoder=spec)
    said = {"embed_dim": source.embed_dim, "vision": source.vision, "gelu": source.quick_gelu}
    plan = TowerPlan(
        name=f"{FAMILY}:{spec}",
        identity={
            "family": FAMILY,
            "id": source.name,
            "pretrained": source.pretrained,
            "revision": revision,
            "class": "VisionTransformer" if source.is_transformer else "other",
            "weights_sha256": files_sha256([weights]),
            "config_sha256": hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest(),
            "preprocessing": dict(source.preprocessing),
        },
        provenance={"weights": str(weights)},
        fields={name: source.shapes[name] for name in names},
        build=partial(_build, source, options),
        shortest_side=_pixel_plan(source).shortest_side,
    )
    return TowerEncoder(plan, modality=modality, options=options)


def pixel_plan(spec: str, options: EncoderOptions) -> PixelPlan:
    """Return what resizes and crops pictures as a tower takes them; weights are not looked for."""
    return _pixel_plan(find_source(spec, revision=options.revision))


def _pixel_plan(source: OpenClipSource) -> PixelPlan:
    side = source.preprocessing["size"]
    shortest = source.preprocessing["resize_mode"] == "shortest" and isinstance(side, int)
    return PixelPlan(
        id=source.name,
        kind=FAMILY,
        preprocessing=source.preprocessing,
        shortest_side=side if shortest else None,
        make=lambda: cropping(_transform(source)),
        revision=source.commit,
    )


def _transform(source: OpenClipSource) -> Any:
    """Return open_clip's own preprocessing: resize, crop, to RGB, to a tensor, normalise."""
    from open_clip.transform import PreprocessCfg, image_transform_v2

    from .built_model import loading

    with loading(source.name):
        return image_transform_v2(PreprocessCfg(**source.preprocessing), is_train=False)


def _build(source: OpenClipSource, options: EncoderOptions) -> "BuiltModel":
    from .built_model import BuiltModel, loading

    compose = _transform(source)
    with loading(source.name):
        visual = _load(source).to(dtype_named(options.compute_dtype))

    def transformed(batch: Any) -> _Output:
        states = visual.transformer(visual._embeds(batch))
        return _Output(visual._pool(states)[0], states, visual.proj)

    def plain(batch: Any) -> _Output:
        output = type(visual).forward(visual, batch)
        return _Output(output[0] if isinstance(output, tuple) else output)

    visual.forward = transformed if source.is_transformer else plain
    return BuiltModel(visual, options, values=_VALUES, **composed(compose))


def _load(source: OpenClipSource) -> Any:
    import open_clip
    from open_clip.convert import convert_state_dict
    from safetensors.torch import load_file

    model = open_clip.CustomTextCLIP(
        embed_dim=source.embed_dim,
        vision_cfg=open_clip.CLIPVisionCfg(**{**source.vision, "timm_model_pretrained": False}),
        text_cfg=open_clip.CLIPTextCfg(**_TINY),
        quick_gelu=source.quick_gelu,
    )
    weights, _ = source.weights
    state = load_file(weights)
    if not any(name.startswith(_PREFIX) for name in state):
        state = convert_state_dict(model, state)
    visual = {n.removeprefix(_PREFIX): t for n, t in state.items() if n.startswith(_PREFIX)}
    if not visual:
        raise EncoderError(f"{weights}: holds no tensor of an image tower (visual.*)")
    model.visual.load_state_dict(visual, strict=True)
    return model.visual
