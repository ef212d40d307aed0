"""Encoders by family; nothing heavy is imported until a model is built."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ...cache.decoded import is_decoded
from ...cache.fingerprint import explain_difference
from ...cache.manifest import Manifest
from ...errors import ConfigError, EncoderError, UnknownName
from ...pretrained import resolve
from ..media import FrameSampling
from .base import (
    BLANK_SECONDS,
    DEFAULT_SAMPLING,
    MODALITIES,
    Decoding,
    Encoder,
    EncoderOptions,
    Modality,
)

if TYPE_CHECKING:
    from .live import LiveEncoder

__all__ = [
    "BLANK_SECONDS",
    "DEFAULT_SAMPLING",
    "ENCODERS",
    "MODALITIES",
    "Decoding",
    "Encoder",
    "EncoderOptions",
    "Modality",
    "encoder_of",
    "live_spec_of",
    "load_encoder",
    "load_live",
    "spec_of",
]


def load_encoder(
    modality: Modality, spec: str, *, options: EncoderOptions | None = None
) -> Encoder:
    """Returns an encoder whose identity is known and whose model is not built yet.

    Args:
        modality: "image", "video" or "audio".
        spec: a hub id or a local folder (`google/vit-base-patch16-224-in21k`, `/models/vit`), or
            `open_clip:` and a model (`open_clip:ViT-B-32`, `open_clip:ViT-B-32:TAG`,
            `open_clip:ViT-B-32:/models/weights.safetensors`); or one of these after `pixels:` or
            `samples:`, for the decoded media as that encoder takes them.
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
    encoder = ENCODERS[family](rest, modality, options)
    encoder.provenance = {**encoder.provenance, "spec": _absolute(spec)}
    return encoder


def _absolute(spec: str) -> str:
    """Returns an encoder's name with its paths made absolute, to find it from anywhere."""
    paths = [(part, Path(part).expanduser()) for part in spec.split(":")]
    return ":".join(str(path.resolve()) if path.exists() else part for part, path in paths)


def spec_of(manifest: Manifest) -> str:
    """Returns the name by which `load_encoder` finds the encoder that made a feature set.

    Raises:
        EncoderError: the set was written by something that did not note it.
    """
    spec = manifest.provenance.get("spec")
    if not isinstance(spec, str):
        raise EncoderError(
            f"the {manifest.modality} features {manifest.fingerprint} do not say where their "
            f"encoder {manifest.identity.get('id')!r} was; name it with --encoder "
            f"{manifest.modality}=HUB_ID_OR_FOLDER"
        )
    return spec


def live_spec_of(manifest: Manifest) -> str:
    """Returns the name by which `load_live` finds the encoder of a feature set's media.

    Of decoded media (`pixels:X`, `samples:X`) it is the one that they were decoded for, X.

    Raises:
        EncoderError: the set was written by something that did not note it.
    """
    spec = spec_of(manifest)
    return spec.partition(":")[2] if is_decoded(manifest) else spec


def load_live(
    modality: Modality, spec: str, *, field: str | None = None, device: str = "auto"
) -> "LiveEncoder":
    """Returns an encoder to be trained or differentiated through, built and in float32.

    Args:
        modality: "image", "video" (its frames one by one) or "audio".
        spec: as for `load_encoder`, but not of decoded media.
        field: which of its outputs; by default `pooler`, of audio `last_hidden_state`.
        device: "cpu", "cuda", "cuda:1" or "auto".

    Raises:
        UnknownName: no such modality, family, model, tag or field; the valid ones are listed.
        EncoderError: it cannot be found or does not fit the modality.
        UnsafeWeights: it has its weights only as pickle, or needs code from its folder.
    """
    from .live import build_live

    field = field or ("last_hidden_state" if modality == "audio" else "pooler")
    options = EncoderOptions(fields=(field,), storage_dtype="float32", device=device)
    return build_live(load_encoder(modality, spec, options=options), name=spec)


def encoder_of(manifest: Manifest, *, spec: str | None = None, device: str = "auto") -> Encoder:
    """Returns the encoder that made a feature set, to encode further media in the same way.

    Args:
        manifest: the set's.
        spec: where the encoder is now, if no longer where the manifest says.
        device: where it runs.

    Raises:
        EncoderError: it is not there, or what is there would make other features.
    """
    identity = manifest.identity
    encoder = load_encoder(
        manifest.modality,  # pyright: ignore[reportArgumentType]
        spec or spec_of(manifest),
        options=EncoderOptions(
            fields=tuple(field.name for field in manifest.fields),
            compute_dtype=identity.get("compute_dtype", EncoderOptions.compute_dtype),
            storage_dtype=identity.get("storage_dtype", EncoderOptions.storage_dtype),
            sampling=FrameSampling(**identity.get("sampling", vars(DEFAULT_SAMPLING))),
            device=device,
            revision=identity.get("revision"),
        ),
    )
    same = Manifest(manifest.modality, encoder.identity, encoder.fields)
    if same.fingerprint != manifest.fingerprint:
        lines = explain_difference(same.fingerprinted, manifest.fingerprinted)
        raise EncoderError(
            f"{spec or spec_of(manifest)} would not make the {manifest.modality} features "
            f"{manifest.fingerprint}; it differs in: {'; '.join(lines)}"
        )
    return encoder


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


def _load_pixels(spec: str, modality: Modality, options: EncoderOptions) -> Encoder:
    from .decoded import load_pixels

    if modality == "audio":
        raise EncoderError(
            f"encoder pixels:{spec} is of images and video; of audio: samples:{spec}"
        )
    return load_pixels(spec, modality=modality, options=options)


def _load_samples(spec: str, modality: Modality, options: EncoderOptions) -> Encoder:
    from .decoded import SampleEncoder

    if modality != "audio":
        raise EncoderError(f"encoder samples:{spec} is of audio; of {modality}: pixels:{spec}")
    return SampleEncoder(spec, options=options)


#: What may stand before the colon of an encoder's name; "transformers" where nothing does.
ENCODERS: dict[str, Callable[[str, Modality, EncoderOptions], Encoder]] = {
    "open_clip": _load_open_clip,
    "pixels": _load_pixels,
    "samples": _load_samples,
    "transformers": _load_transformers,
}
