"""Encoders by family; nothing heavy is imported until a model is built."""

from collections.abc import Callable

from ...checkpoints import resolve
from ...errors import ConfigError, EncoderError, UnknownName
from .base import (
    BLANK_SECONDS,
    DEFAULT_SAMPLING,
    MODALITIES,
    Decoding,
    Encoder,
    EncoderOptions,
    Modality,
)

__all__ = [
    "BLANK_SECONDS",
    "DEFAULT_SAMPLING",
    "ENCODERS",
    "MODALITIES",
    "Decoding",
    "Encoder",
    "EncoderOptions",
    "Modality",
    "load_encoder",
]


def load_encoder(
    modality: Modality, spec: str, *, options: EncoderOptions | None = None
) -> Encoder:
    """Returns an encoder whose identity is known and whose model is not built yet.

    Args:
        modality: "image", "video" or "audio".
        spec: a hub id or a local folder (`google/vit-base-patch16-224-in21k`, `/models/vit`), or
            `open_clip:` and a model (`open_clip:ViT-B-32`, `open_clip:ViT-B-32:TAG`,
            `open_clip:ViT-B-32:/models/weights.safetensors`).
        options: fields, dtypes, frame sampling, device, revision.

    Raises:
        UnknownName: no such modality, family, model, tag or field; the valid ones are listed.
        EncoderError: it cannot be found or does not fit the modality.
        UnsafeWeights: it has its weights only as pickle, or needs code from its folder.
    """
    if modality not in MODALITIES:
        raise UnknownName("modality", modality, list(MODALITIES))
    options = options or EncoderOptions()
    family, separator, rest = spec.partition(":")
    if not separator:
        family, rest = "transformers", spec
    if not rest.strip():
        raise ConfigError(f"encoder {spec!r}: a hub id, a folder or open_clip:MODEL is needed")
    if family not in ENCODERS:
        raise UnknownName("encoder family", family, list(ENCODERS))
    return ENCODERS[family](rest, modality, options)


def _load_open_clip(spec: str, modality: Modality, options: EncoderOptions) -> Encoder:
    from .open_clip_image import load_open_clip

    if modality == "audio":
        raise EncoderError(f"encoder open_clip:{spec} looks at images; it cannot encode audio")
    return load_open_clip(spec, modality=modality, options=options)


def _load_transformers(spec: str, modality: Modality, options: EncoderOptions) -> Encoder:
    from .audio import ARCHITECTURES, AudioEncoder
    from .transformers_image import load_transformers_image

    checkpoint = resolve(spec, revision=options.revision)
    audio = checkpoint.model_type in ARCHITECTURES
    if audio and modality == "audio":
        return AudioEncoder(checkpoint, options=options)
    if not audio and modality != "audio":
        return load_transformers_image(checkpoint, modality=modality, options=options)
    raise EncoderError(
        f"encoder {spec!r} is a {checkpoint.model_type!r} model and cannot encode {modality}; "
        f"audio needs one of {', '.join(sorted(ARCHITECTURES))}; image and video an image tower"
    )


#: What may stand before the colon of an encoder's name; "transformers" where nothing does.
ENCODERS: dict[str, Callable[[str, Modality, EncoderOptions], Encoder]] = {
    "open_clip": _load_open_clip,
    "transformers": _load_transformers,
}
