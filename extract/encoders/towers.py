"""What Hugging Face image towers put out, as far as their configuration tells.

Known architectures are listed, so that an encoder's fields are known without building it. Any
other image model that `AutoModel` can load works too: it is built and looked at.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ...errors import EncoderError
from ...pretrained import Pretrained

#: `pooler_output`; the first vector of `last_hidden_state`; its mean; the whole of it.
IMAGE_FIELDS = ("pooler", "cls", "average", "sequence")


@dataclass(frozen=True)
class Layout:
    """The shapes of an image tower's outputs.

    Attributes:
        width: H, the size of a vector.
        pooler: Whether it gives a meaningful `pooler_output`.
        cls: Whether its sequence starts with a class token.
        pooler_is_cls: Whether the two are the same vector.
        tokens: Length of the sequence; None where only building the model would tell.
    """

    width: int
    pooler: bool
    cls: bool
    pooler_is_cls: bool = False
    tokens: int | None = None

    @property
    def valid(self) -> tuple[str, ...]:
        """The fields that can be kept."""
        absent = {"pooler": not self.pooler, "cls": not self.cls}
        return tuple(name for name in IMAGE_FIELDS if not absent.get(name, False))

    @property
    def usual(self) -> tuple[str, ...]:
        """The fields that are kept unless others are asked for."""
        if self.pooler and self.cls and not self.pooler_is_cls:
            return ("pooler", "cls")
        if self.pooler:
            return ("pooler",)
        return ("cls",) if self.cls else ("average",)


@dataclass(frozen=True)
class _Architecture:
    """How to read a configuration.

    `pooler` names the tensors that a pooler needs ("" for none, None where there is no pooler):
    a checkpoint without them would get a random one.
    """

    pooler: str | None
    cls: bool
    width: Literal["hidden_size", "hidden_sizes", "swin"] = "hidden_size"
    pooler_is_cls: bool = False


_ARCHITECTURES: dict[str, _Architecture] = {
    "beit": _Architecture(pooler="pooler.", cls=True),
    "clip_vision_model": _Architecture(pooler="", cls=True),
    "convnext": _Architecture(pooler="", cls=False, width="hidden_sizes"),
    "convnextv2": _Architecture(pooler="", cls=False, width="hidden_sizes"),
    "data2vec-vision": _Architecture(pooler="pooler.", cls=True),
    "deit": _Architecture(pooler="pooler.", cls=True),
    "dinov2": _Architecture(pooler="", cls=True, pooler_is_cls=True),
    "dinov2_with_registers": _Architecture(pooler="", cls=True, pooler_is_cls=True),
    "dinov3_vit": _Architecture(pooler="", cls=True, pooler_is_cls=True),
    "resnet": _Architecture(pooler="", cls=False, width="hidden_sizes"),
    "siglip_vision_model": _Architecture(pooler="head.probe", cls=False),
    "swin": _Architecture(pooler="", cls=False, width="swin"),
    "swinv2": _Architecture(pooler="", cls=False, width="swin"),
    "vit": _Architecture(pooler="pooler.", cls=True),
    "vit_msn": _Architecture(pooler=None, cls=True),
}

# Masked autoencoders drop patches at random in every forward pass.
_RANDOM = frozenset({"vit_mae", "videomae", "vit_hybrid_mae"})


def tower_config(checkpoint: Pretrained) -> Mapping[str, Any]:
    """Return the configuration of a checkpoint's image tower.

    Image-and-text models such as CLIP and SigLIP nest it as `vision_config`.

    Raises:
        EncoderError: If the model's output would be random.
    """
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
    architecture = _ARCHITECTURES.get(str(config.get("model_type")))
    width = None if architecture is None else _width(config, architecture)
    if architecture is None or width is None:
        return None
    return Layout(
        width=width,
        pooler=_has_pooler(checkpoint, architecture),
        cls=architecture.cls,
        pooler_is_cls=architecture.pooler_is_cls,
    )


def _width(config: Mapping[str, Any], architecture: _Architecture) -> int | None:
    try:
        if architecture.width == "hidden_sizes":
            return int(config["hidden_sizes"][-1])
        if architecture.width == "swin":
            return int(config["embed_dim"] * 2 ** (len(config["depths"]) - 1))
        return int(config["hidden_size"])
    except KeyError:  # left at the library's default
        return None


def _has_pooler(checkpoint: Pretrained, architecture: _Architecture) -> bool:
    if not architecture.pooler:
        return architecture.pooler is not None
    return any(f".{architecture.pooler}" in f".{name}" for name in checkpoint.tensor_names)
