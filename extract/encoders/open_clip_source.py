"""Where an open_clip image tower comes from: a built-in model's weights, a file, or a folder."""

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...cache.atomic import read_json_object
from ...errors import EncoderError, PretrainedError, UnknownName, UnsafeWeights
from ...pretrained import Pretrained, resolve

FAMILY = "open_clip"
CONFIG_NAME = "open_clip_config.json"
_WEIGHTS_NAMES = (
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "model.safetensors",
)
_HUB_PREFIX = "hf-hub:"

# open_clip's own defaults, written out so that they are part of what features are known by.
_PREPROCESSING: Mapping[str, Any] = {
    "mode": "RGB",
    "mean": [0.48145466, 0.4578275, 0.40821073],
    "std": [0.26862954, 0.26130258, 0.27577711],
    "interpolation": "bicubic",
    "resize_mode": "shortest",
    "fill_color": 0,
}


@dataclass(frozen=True)
class OpenClipSource:
    """Where an open_clip image tower comes from.

    Attributes:
        name: The model's name, or the folder's.
        pretrained: The weights' tag, None where they are a file.
        revision: The hub's commit, if from there.
        embed_dim: Size of the joint image and text space.
        vision: What open_clip calls `vision_cfg`.
        quick_gelu: Whether the weights were trained with that activation.
        preprocessing: Size, mean, standard deviation, interpolation and resize rule.
        weights: The safetensors file.
    """

    name: str
    pretrained: str | None
    revision: str | None
    embed_dim: int
    vision: Mapping[str, Any]
    quick_gelu: bool
    preprocessing: Mapping[str, Any]
    weights: Path

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
        if not self.is_transformer:
            return {"pooler": (self.embed_dim,)}
        width = int(self.vision.get("width", 768))
        (rows, columns), (height, wide) = (
            self._sides("image_size", 224),
            self._sides("patch_size", 16),
        )
        tokens = (rows // height) * (columns // wide) + 1
        return {
            "pooler": (width,),
            "embedding": (self.embed_dim,),
            "cls": (width,),
            "average": (width,),
            "sequence": (tokens, width),
        }

    def _sides(self, name: str, default: int) -> tuple[int, int]:
        value = self.vision.get(name, default)
        return (value, value) if isinstance(value, int) else (int(value[0]), int(value[1]))


def find_source(spec: str, *, revision: str | None = None) -> OpenClipSource:
    """Return where the tower comes from; `spec` is what follows `open_clip:`."""
    folder = _folder_named(spec, revision=revision, patterns=(CONFIG_NAME, *_WEIGHTS_NAMES))
    if folder is not None:
        return _from_folder(folder)
    name, _, pretrained = spec.partition(":")
    config = _model_config(name)
    if Path(pretrained).suffix:
        return _source(config, name=name, weights=_weights_file(pretrained))
    return _from_tag(config, name=name, tag=pretrained or None, revision=revision)


def find_preprocessing(
    spec: str, *, revision: str | None = None
) -> tuple[str, str | None, dict[str, Any]]:
    """Return a tower's name, its commit and its preprocessing; weights are not looked for."""
    folder = _folder_named(spec, revision=revision, patterns=(CONFIG_NAME,))
    if folder is not None:
        config, given = _folder_config(folder)
        preprocessing = _preprocessing(_vision(config, name=folder.id), given)
        return folder.id, folder.revision, preprocessing
    name, _, tag = spec.partition(":")
    config = _model_config(name)
    given = {} if Path(tag).suffix else _published(name, tag or None)[1]
    return name, None, _preprocessing(_vision(config, name=name), given)


def _folder_named(
    spec: str, *, revision: str | None, patterns: tuple[str, ...]
) -> Pretrained | None:
    """Return the folder that a spec names, here or on the hub, None where it names a model."""
    if spec.startswith(_HUB_PREFIX):
        return resolve(spec.removeprefix(_HUB_PREFIX), revision=revision, patterns=patterns)
    return resolve(spec) if Path(spec).expanduser().is_dir() else None


def _from_folder(folder: Pretrained) -> OpenClipSource:
    config, preprocessing = _folder_config(folder)
    return _source(
        config,
        name=folder.id,
        weights=_folder_weights(folder, _WEIGHTS_NAMES),
        preprocessing=preprocessing,
        revision=folder.revision,
    )


def _folder_config(folder: Pretrained) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a folder's `model_cfg` and `preprocess_cfg`."""
    path = folder.folder / CONFIG_NAME
    content = read_json_object(path, PretrainedError, owner=f"encoder {folder.id!r}")
    config = content.get("model_cfg")
    if not isinstance(config, dict):
        raise EncoderError(f"encoder {folder.id!r}: {path} has no model_cfg")
    return config, content.get("preprocess_cfg", {})


def _from_tag(
    config: Mapping[str, Any], *, name: str, tag: str | None, revision: str | None
) -> OpenClipSource:
    chosen, published = _published(name, tag)
    repository, _, file = str(published.get("hf_hub", "")).rpartition("/")
    if not repository:
        raise UnsafeWeights(
            f"encoder {name}:{chosen}: published only as pickle; choose another tag"
        )
    names = (*((str(Path(file).with_suffix(".safetensors")),) if file else ()), *_WEIGHTS_NAMES)
    checkpoint = resolve(repository, revision=revision, patterns=(CONFIG_NAME, *names))
    return _source(
        {**config, "quick_gelu": published.get("quick_gelu", False)},
        name=name,
        weights=_folder_weights(checkpoint, names),
        preprocessing=published,
        pretrained=chosen,
        revision=checkpoint.revision,
    )


def _published(name: str, tag: str | None) -> tuple[str, dict[str, Any]]:
    """Return a tag of a model's published weights, the first by default, and what it says."""
    import open_clip

    tags = open_clip.list_pretrained_tags_by_model(name)
    if not tags:
        raise EncoderError(f"encoder {name!r} has no published weights; name a .safetensors file")
    chosen = tags[0] if tag is None else tag
    published = open_clip.get_pretrained_cfg(name, chosen)
    if not published:
        raise UnknownName(f"weights of {FAMILY}:{name}", chosen, tags)
    return chosen, published


def _source(
    config: Mapping[str, Any],
    *,
    name: str,
    weights: Path,
    preprocessing: Mapping[str, Any] | None = None,
    pretrained: str | None = None,
    revision: str | None = None,
) -> OpenClipSource:
    vision = _vision(config, name=name)
    return OpenClipSource(
        name=name,
        pretrained=pretrained,
        revision=revision,
        embed_dim=config["embed_dim"],
        vision=dict(vision),
        quick_gelu=bool(config.get("quick_gelu", False)),
        preprocessing=_preprocessing(vision, preprocessing or {}),
        weights=weights,
    )


def _vision(config: Mapping[str, Any], *, name: str) -> Mapping[str, Any]:
    vision = config.get("vision_cfg")
    if not isinstance(vision, Mapping) or not isinstance(config.get("embed_dim"), int):
        raise EncoderError(f"encoder {name!r}: its configuration has no vision_cfg or embed_dim")
    return vision


def _preprocessing(vision: Mapping[str, Any], said: Mapping[str, Any]) -> dict[str, Any]:
    given = {name: v for name, v in said.items() if name in _PREPROCESSING and v is not None}
    return {**_PREPROCESSING, **given, "size": vision.get("image_size", 224)}


def _model_config(name: str) -> dict[str, Any]:
    """Return a built-in model's configuration, without importing open_clip."""
    package = importlib.util.find_spec("open_clip")
    if package is None or not package.submodule_search_locations:
        raise EncoderError("open_clip is not installed; pip install open_clip_torch")
    folder = Path(package.submodule_search_locations[0]) / "model_configs"
    path = folder / f"{name}.json"
    if not path.is_file() or path.parent != folder:
        valid = [path.stem for path in folder.glob("*.json")]
        raise UnknownName("open_clip model", name, valid)
    return read_json_object(path, PretrainedError, owner=f"encoder {name!r}")


def _weights_file(text: str) -> Path:
    path = Path(text).expanduser()
    if path.suffix != ".safetensors":
        raise UnsafeWeights(f"{path}: only .safetensors weights are read; pickle can run code")
    if not path.is_file():
        raise EncoderError(f"{path}: no such weights file")
    return path


def _folder_weights(checkpoint: Pretrained, names: tuple[str, ...]) -> Path:
    for name in names:
        if (checkpoint.folder / name).is_file():
            return checkpoint.folder / name
    raise checkpoint.no_weights(names[0])
