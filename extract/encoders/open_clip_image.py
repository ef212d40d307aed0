"""Image towers of open_clip.

An encoder is named after the prefix `open_clip:` in one of these ways:
`ViT-B-32` (with the first of the model's published weights), `ViT-B-32:laion2b_s34b_b79k` (a tag),
`ViT-B-32:/models/weights.safetensors` (a file), `/models/my-clip` (a folder with
`open_clip_config.json` and its weights) or `hf-hub:owner/name` (such a folder on the hub).
"""

import hashlib
import importlib.util
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from ...cache.atomic import read_json_object
from ...cache.checked import sha256_once
from ...errors import EncoderError, PretrainedError, UnknownName, UnsafeWeights
from ...pretrained import WEIGHTS_NAME, dtype_named, folder_of, resolve
from .base import EncoderOptions
from .image import PixelPlan, TowerEncoder, composed, cropping

if TYPE_CHECKING:
    from .built_model import BuiltModel

FAMILY = "open_clip"
CONFIG_NAME = "open_clip_config.json"
_WEIGHTS_NAMES = (
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    WEIGHTS_NAME,
)
_PREFIX = "visual."

# open_clip builds both towers; the text tower is thrown away.
_TINY: dict[str, Any] = {"context_length": 4, "vocab_size": 8, "width": 8, "heads": 1, "layers": 1}

# open_clip's own defaults, written out so that they are part of what features are known by.
_PREPROCESSING: Mapping[str, Any] = {
    "mode": "RGB",
    "mean": [0.48145466, 0.4578275, 0.40821073],
    "std": [0.26862954, 0.26130258, 0.27577711],
    "interpolation": "bicubic",
    "resize_mode": "shortest",
    "fill_color": 0,
}

_Located = tuple[Path, str | None]
"""A safetensors file, and the hub's commit if it is from there."""


#: From what `_build` makes a tower give.
_VALUES: dict[str, Callable[[Any], Any]] = {
    "pooler": lambda output: output.pooled,
    "embedding": lambda output: output.pooled @ output.projection,
    "cls": lambda output: output.states[:, 0],
    "average": lambda output: output.states.mean(1),
    "sequence": lambda output: output.states,
}


@dataclass(frozen=True)
class OpenClipSource:
    """Where an open_clip image tower comes from.

    `config` is what open_clip calls `model_cfg`, `said` what is said of the preprocessing. `locate`
    finds the weights, not before they are asked for; `pretrained` is their tag, None where they
    are a file. `commit` is the hub's, of the configuration.
    """

    name: str
    config: Mapping[str, Any]
    said: Mapping[str, Any]
    locate: Callable[[], _Located]
    commit: str | None = None
    pretrained: str | None = None

    def __post_init__(self) -> None:
        vision, width = self.config.get("vision_cfg"), self.config.get("embed_dim")
        if not (isinstance(vision, Mapping) and isinstance(width, int)):
            problem = "its configuration has no vision_cfg or embed_dim"
            raise EncoderError(f"encoder {self.name!r}: {problem}")

    @property
    def vision(self) -> Mapping[str, Any]:
        """What open_clip calls `vision_cfg`."""
        return self.config["vision_cfg"]

    @property
    def tower(self) -> dict[str, Any]:
        """All that decides what the tower computes, apart from its weights."""
        quick = bool(self.config.get("quick_gelu", False))
        return {"embed_dim": self.config["embed_dim"], "vision": self.vision, "gelu": quick}

    @property
    def preprocessing(self) -> dict[str, Any]:
        """Size, mean, standard deviation, interpolation and resize rule."""
        given = {k: v for k, v in self.said.items() if k in _PREPROCESSING and v is not None}
        return {**_PREPROCESSING, **given, "size": self.vision.get("image_size", 224)}

    @property
    def is_transformer(self) -> bool:
        """Whether it is open_clip's own vision transformer with one pooled token."""
        vision = self.vision
        other = vision.get("timm_model_name") or vision.get("attentional_pool")
        pooled = vision.get("pool_type", "tok") in ("tok", "avg")
        return not other and pooled and isinstance(vision.get("layers", 12), int)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The fields that it can give, with their shapes.

        `pooler` is the pooled vector before the projection into the space shared with text, as in
        the Hugging Face form of these models; `embedding` is after it. Towers that have no such
        two steps give their one output as `pooler`.
        """
        joint = (self.config["embed_dim"],)
        if not self.is_transformer:
            return {"pooler": joint}
        width = int(self.vision.get("width", 768))
        image, patch = (
            side if isinstance(side, list | tuple) else (side, side)
            for side in (self.vision.get("image_size", 224), self.vision.get("patch_size", 16))
        )
        tokens = (image[0] // patch[0]) * (image[1] // patch[1]) + 1
        shapes = {**dict.fromkeys(_VALUES, (width,)), "embedding": joint}
        return {**shapes, "sequence": (tokens, width)}


def load(spec: str, *, modality: str, options: EncoderOptions) -> TowerEncoder:
    """Return the encoder of `open_clip:SPEC`; its weights are not loaded yet."""
    source = find_source(spec, revision=options.revision)
    weights, revision = source.locate()
    usual = ("pooler", "embedding") if source.is_transformer else ("pooler",)
    names = options.choose(usual=usual, valid=tuple(source.shapes), encoder=spec)
    tower = json.dumps(source.tower, sort_keys=True).encode()
    return TowerEncoder(
        partial(_build, source, weights, options),
        modality=modality,
        options=options,
        identity={
            "family": FAMILY,
            "id": source.name,
            "pretrained": source.pretrained,
            "revision": revision,
            "class": "VisionTransformer" if source.is_transformer else "other",
            "weights_sha256": sha256_once([weights]),
            "config_sha256": hashlib.sha256(tower).hexdigest(),
            "preprocessing": source.preprocessing,
        },
        provenance={"weights": str(weights)},
        shapes={name: source.shapes[name] for name in names},
        **_pixel_plan(source).needed(),
    )


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
        size=(side, side) if isinstance(side, int) else tuple(side),
        make=lambda: cropping(_transform(source)),
        revision=source.commit,
    )


def find_source(spec: str, *, revision: str | None = None) -> OpenClipSource:
    """Return where the tower of `open_clip:SPEC` comes from."""
    folder = spec.removeprefix("hf-hub:")
    if folder != spec or folder_of(spec) is not None:
        return _from_folder(folder or spec, revision)
    name, _, tag = spec.partition(":")
    config = _model_config(name)
    if Path(tag).suffix:
        return OpenClipSource(name, config, {}, partial(_named_file, Path(tag).expanduser()))
    chosen, published = _published(name, tag)
    config["quick_gelu"] = published.get("quick_gelu", False)
    locate = partial(_download, f"{name}:{chosen}", published, revision)
    return OpenClipSource(name, config, published, locate, pretrained=chosen)


def _from_folder(spec: str, revision: str | None) -> OpenClipSource:
    folder = resolve(spec, revision=revision, patterns=(CONFIG_NAME,))
    path = folder.folder / CONFIG_NAME
    content = read_json_object(path, PretrainedError, owner=f"encoder {folder.id!r}")
    config = content.get("model_cfg")
    if not isinstance(config, dict):
        raise EncoderError(f"encoder {folder.id!r}: {path} has no model_cfg")
    said = content.get("preprocess_cfg", {})
    locate = partial(_in_folder, spec, folder.revision, _WEIGHTS_NAMES)
    return OpenClipSource(folder.id, config, said, locate, commit=folder.revision)


def _published(name: str, tag: str) -> tuple[str, dict[str, Any]]:
    """Return a tag of a model's published weights, the first by default, and what it says."""
    import open_clip

    tags = open_clip.list_pretrained_tags_by_model(name)
    if not tags:
        raise EncoderError(f"encoder {name!r} has no published weights; name a .safetensors file")
    chosen = tag or tags[0]
    published = open_clip.get_pretrained_cfg(name, chosen)
    if not published:
        raise UnknownName(f"weights of {FAMILY}:{name}", chosen, tags)
    return chosen, published


def _download(name: str, published: Mapping[str, Any], revision: str | None) -> _Located:
    repository, _, file = str(published.get("hf_hub", "")).rpartition("/")
    if not repository:
        raise UnsafeWeights(f"encoder {name}: published only as pickle; choose another tag")
    named = (str(Path(file).with_suffix(".safetensors")),) if file else ()
    return _in_folder(repository, revision, (*named, *_WEIGHTS_NAMES))


def _in_folder(spec: str, revision: str | None, names: Sequence[str]) -> _Located:
    checkpoint = resolve(spec, revision=revision, patterns=(CONFIG_NAME, *names))
    for name in names:
        if (checkpoint.folder / name).is_file():
            return checkpoint.folder / name, checkpoint.revision
    raise checkpoint.no_weights(names[0])


def _model_config(name: str) -> dict[str, Any]:
    """Return a built-in model's configuration, without importing open_clip."""
    package = importlib.util.find_spec("open_clip")
    if package is None or not package.submodule_search_locations:
        raise EncoderError("open_clip is not installed; pip install open_clip_torch")
    folder = Path(package.submodule_search_locations[0]) / "model_configs"
    path = folder / f"{name}.json"
    if not path.is_file() or path.parent != folder:
        raise UnknownName("open_clip model", name, [path.stem for path in folder.glob("*.json")])
    return read_json_object(path, PretrainedError, owner=f"encoder {name!r}")


def _named_file(path: Path) -> _Located:
    if path.suffix != ".safetensors":
        raise UnsafeWeights(f"{path}: only .safetensors weights are read; pickle can run code")
    if not path.is_file():
        raise EncoderError(f"{path}: no such weights file")
    return path, None


def _transform(source: OpenClipSource) -> Any:
    """Return open_clip's own preprocessing: resize, crop, to RGB, to a tensor, normalise."""
    from open_clip.transform import PreprocessCfg, image_transform_v2

    from .built_model import loading

    with loading(source.name):
        return image_transform_v2(PreprocessCfg(**source.preprocessing), is_train=False)


def _build(source: OpenClipSource, weights: Path, options: EncoderOptions) -> "BuiltModel":
    import open_clip
    from open_clip.convert import convert_state_dict
    from safetensors.torch import load_file

    from .built_model import BuiltModel, loading

    compose, tower = _transform(source), source.tower
    with loading(source.name):
        model: Any = open_clip.CustomTextCLIP(
            embed_dim=tower["embed_dim"],
            vision_cfg=open_clip.CLIPVisionCfg(**{**source.vision, "timm_model_pretrained": False}),
            text_cfg=open_clip.CLIPTextCfg(**_TINY),
            quick_gelu=tower["gelu"],
        )
        state = load_file(weights)
        if not any(name.startswith(_PREFIX) for name in state):
            state = convert_state_dict(model, state)
        state = {n.removeprefix(_PREFIX): t for n, t in state.items() if n.startswith(_PREFIX)}
        if not state:
            raise EncoderError(f"{weights}: holds no tensor of an image tower (visual.*)")
        model.visual.load_state_dict(state, strict=True)
        visual = model.visual.to(dtype_named(options.compute_dtype))

    def transformed(batch: Any) -> SimpleNamespace:
        states = visual.transformer(visual._embeds(batch))
        pooled, _ = visual._pool(states)
        return SimpleNamespace(pooled=pooled, states=states, projection=visual.proj)

    def plain(batch: Any) -> SimpleNamespace:
        output = type(visual).forward(visual, batch)
        return SimpleNamespace(pooled=output[0] if isinstance(output, tuple) else output)

    visual.forward = transformed if source.is_transformer else plain
    return BuiltModel(visual, options, values=_VALUES, **composed(compose))
