"""Where an open_clip image tower comes from: a built-in model's weights, a file, or a folder."""

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
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
    """Where an open_clip image tower comes from; its weights are looked for when they are asked.

    Attributes:
        name: The model's name, or the folder's.
        config: What open_clip calls `model_cfg`.
        preprocessing: Size, mean, standard deviation, interpolation and resize rule.
        locate: Finds the safetensors file, and the hub's commit if it is from there.
        commit: That of the configuration, if it is from there.
        pretrained: The weights' tag, None where they are a file.
    """

    name: str
    config: Mapping[str, Any]
    preprocessing: Mapping[str, Any]
    locate: Callable[[], tuple[Path, str | None]]
    commit: str | None = None
    pretrained: str | None = None

    @cached_property
    def weights(self) -> tuple[Path, str | None]:
        """The safetensors file and the hub's commit."""
        return self.locate()

    @property
    def vision(self) -> Mapping[str, Any]:
        """What open_clip calls `vision_cfg`."""
        return self.config["vision_cfg"]

    @property
    def embed_dim(self) -> int:
        """The size of the joint image and text space."""
        return self.config["embed_dim"]

    @property
    def quick_gelu(self) -> bool:
        """Whether the weights were trained with that activation."""
        return bool(self.config.get("quick_gelu", False))

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
        sides, patches = self._sides("image_size", 224), self._sides("patch_size", 16)
        tokens = (sides[0] // patches[0]) * (sides[1] // patches[1]) + 1
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
    hub_id = spec.removeprefix(_HUB_PREFIX) if spec.startswith(_HUB_PREFIX) else None
    if hub_id or Path(spec).expanduser().is_dir():
        return _from_folder(hub_id or spec, revision)
    name, _, tag = spec.partition(":")
    config = _model_config(name)
    if Path(tag).suffix:
        return _source(name, config, {}, lambda: (_weights_file(tag), None))
    chosen, published = _published(name, tag or None)
    config["quick_gelu"] = published.get("quick_gelu", False)
    locate = partial(_download, f"{name}:{chosen}", published, revision)
    return _source(name, config, published, locate, pretrained=chosen)


def _from_folder(spec: str, revision: str | None) -> OpenClipSource:
    folder = resolve(spec, revision=revision, patterns=(CONFIG_NAME,))
    path = folder.folder / CONFIG_NAME
    content = read_json_object(path, PretrainedError, owner=f"encoder {folder.id!r}")
    config = content.get("model_cfg")
    if not isinstance(config, dict):
        raise EncoderError(f"encoder {folder.id!r}: {path} has no model_cfg")

    def locate() -> tuple[Path, str | None]:
        patterns = (CONFIG_NAME, *_WEIGHTS_NAMES)
        return _folder_weights(resolve(spec, revision=folder.revision, patterns=patterns))

    said = content.get("preprocess_cfg", {})
    return _source(folder.id, config, said, locate, commit=folder.revision)


def _download(
    name: str, published: Mapping[str, Any], revision: str | None
) -> tuple[Path, str | None]:
    repository, _, file = str(published.get("hf_hub", "")).rpartition("/")
    if not repository:
        raise UnsafeWeights(f"encoder {name}: published only as pickle; choose another tag")
    names = (*((str(Path(file).with_suffix(".safetensors")),) if file else ()), *_WEIGHTS_NAMES)
    checkpoint = resolve(repository, revision=revision, patterns=(CONFIG_NAME, *names))
    return _folder_weights(checkpoint, names)


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
    name: str,
    config: Mapping[str, Any],
    said: Mapping[str, Any],
    locate: Callable[[], tuple[Path, str | None]],
    **where: str | None,
) -> OpenClipSource:
    vision = config.get("vision_cfg")
    if not isinstance(vision, Mapping) or not isinstance(config.get("embed_dim"), int):
        raise EncoderError(f"encoder {name!r}: its configuration has no vision_cfg or embed_dim")
    given = {name: v for name, v in said.items() if name in _PREPROCESSING and v is not None}
    preprocessing = {**_PREPROCESSING, **given, "size": vision.get("image_size", 224)}
    return OpenClipSource(name, config, preprocessing, locate, **where)


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


def _folder_weights(
    checkpoint: Pretrained, names: tuple[str, ...] = _WEIGHTS_NAMES
) -> tuple[Path, str | None]:
    for name in names:
        if (checkpoint.folder / name).is_file():
            return checkpoint.folder / name, checkpoint.revision
    raise checkpoint.no_weights(names[0])
