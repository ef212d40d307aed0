"""Encoders by family; nothing heavy is imported until a model is built."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ...cache.atomic import shorten
from ...cache.fingerprint import explain_difference
from ...cache.manifest import Manifest
from ...cache.modalities import MODALITIES, find_modality
from ...errors import ConfigError, EncoderError, UnknownName
from ...pretrained import CONFIG_NAME, PROCESSOR_NAMES, Pretrained, folder_of, resolve
from ...settings import read_settings
from ..media import FrameSampling
from . import audio, open_clip_image, timm_image, transformers_image
from .base import DEFAULT_SAMPLING, Encoder, EncoderOptions
from .image import PixelPlan, load_pixels

if TYPE_CHECKING:
    from .built_model import LiveEncoder


def load_encoder(modality: str, spec: str, *, options: EncoderOptions | None = None) -> Encoder:
    """Return an encoder of a modality, its identity known and its model not built yet.

    `spec` is a hub id or a local folder (`google/vit-base-patch16-224-in21k`, `/models/vit`), or
    what follows `open_clip:` or `timm:` as their modules say; or one of these after `pixels:` or
    `samples:`, for the decoded media as that encoder takes them.
    """
    find_modality(modality)
    options = options or EncoderOptions()
    family, rest = _family_of(spec)
    able = ENCODERS[family].modalities
    if modality not in able:
        others = [f"{name}:{rest}" for name, of in ENCODERS.items() if modality in of.modalities]
        raise EncoderError(
            f"encoder {spec!r} cannot encode {modality}, only {' and '.join(able)}; "
            f"of {modality}: {', '.join(others)}"
        )
    encoder = ENCODERS[family].load(rest, modality=modality, options=options)
    revision = encoder.identity.get("revision")
    known = {"spec": _absolute(spec)} | ({"revision": revision} if revision else {})
    encoder.provenance = {**encoder.provenance, **known}
    return encoder


def _absolute(spec: str) -> str:
    """Return an encoder's name with its paths made absolute, to find it from anywhere."""
    paths = [(part, Path(part).expanduser()) for part in spec.split(":")]
    return ":".join(str(path.resolve()) if path.exists() else part for part, path in paths)


def spec_of(manifest: Manifest) -> str:
    """Return the name by which `load_encoder` finds the encoder that made a feature set."""
    spec = manifest.provenance.get("spec")
    if not isinstance(spec, str):
        raise EncoderError(
            f"the {manifest.modality} features {manifest.fingerprint} do not say where their "
            f"encoder {manifest.identity.get('id')!r} was; name it with --encoder "
            f"{manifest.modality}=HUB_ID_OR_FOLDER"
        )
    return spec


def revision_of(manifest: Manifest, spec: str) -> str | None:
    """Return the hub's commit of the encoder behind a feature set, None if `spec` is a folder."""
    if folder_of(spec.rpartition(":")[2]) is not None:
        return None
    revision = manifest.provenance.get("revision")
    return revision if isinstance(revision, str) else None


def live_spec_of(manifest: Manifest) -> str:
    """Return the name by which `load_live` finds the encoder of a feature set's media.

    Of decoded media (`pixels:X`, `samples:X`) it is the one that they were decoded for, X.
    """
    spec = spec_of(manifest)
    return spec.partition(":")[2] if manifest.decoded else spec


def load_live(
    modality: str,
    spec: str,
    *,
    field: str | None = None,
    device: str = "auto",
    revision: str | None = None,
) -> "LiveEncoder":
    """Return an encoder to be trained or differentiated through, built and in float32.

    `spec` is as for `load_encoder`, but not of decoded media; `field` says which of its outputs,
    by default the modality's usual one. A video's frames are encoded one by one.
    """
    from .built_model import LiveEncoder

    field = field or find_modality(modality).default_field
    options = EncoderOptions(
        fields=(field,), storage_dtype="float32", device=device, revision=revision
    )
    return LiveEncoder(load_encoder(modality, spec, options=options), name=spec)


def encoder_of(manifest: Manifest, *, spec: str | None = None, device: str = "auto") -> Encoder:
    """Return the encoder that made a feature set, to encode further media in the same way.

    `spec` says where it is now, if no longer where the manifest says; an `EncoderError`, that what
    is there would make other features.
    """
    spec = spec or spec_of(manifest)
    options = EncoderOptions(
        fields=tuple(field.name for field in manifest.fields),
        compute_dtype=_said(manifest, "compute_dtype", EncoderOptions.compute_dtype),
        storage_dtype=_said(manifest, "storage_dtype", EncoderOptions.storage_dtype),
        sampling=sampling_of(manifest),
        decode=decode_of(manifest),
        device=device,
        revision=revision_of(manifest, spec),
    )
    encoder = load_encoder(manifest.modality, spec, options=options)
    same = Manifest(manifest.modality, encoder.identity, encoder.fields)
    if same.fingerprint != manifest.fingerprint:
        lines = explain_difference(same.fingerprinted, manifest.fingerprinted)
        raise EncoderError(
            f"{spec} would not make the {manifest.modality} features "
            f"{manifest.fingerprint}; it differs in: {'; '.join(lines)}"
        )
    return encoder


def sampling_of(manifest: Manifest) -> FrameSampling:
    """Return which frames of a video the features in a feature set are of.

    Raises:
        ConfigError: If what the manifest says of it makes no sense; it may come from anyone.
    """
    said = manifest.identity.get("sampling")
    if said is None:
        return DEFAULT_SAMPLING
    return read_settings(FrameSampling, said, _named(manifest, "sampling"))


def decode_of(manifest: Manifest) -> Any:
    """Return how the pictures behind a feature set were decoded."""
    return _said(manifest, "decode", EncoderOptions.decode)


def _said(manifest: Manifest, name: str, default: Any) -> Any:
    """Return a word in a manifest's identity."""
    word = manifest.identity.get(name, default)
    if not isinstance(word, str):
        raise ConfigError(f"{_named(manifest, name)} is {shorten(word)}; expected a text")
    return word


def _named(manifest: Manifest, name: str) -> str:
    return f"{name} of the {manifest.modality} features {manifest.fingerprint}"


def _load_transformers(spec: str, *, modality: str, options: EncoderOptions) -> Encoder:
    """Return an encoder of transformers: an image tower or one that listens, as it says."""
    checkpoint = resolve(spec, revision=options.revision)
    if timm_image.is_timm(checkpoint.config):
        return ENCODERS["timm"].load(spec, modality=modality, options=options)
    _check_sense(spec, checkpoint, modality)
    family = transformers_image if MODALITIES[modality].pictures else audio
    return family.load(checkpoint, modality=modality, options=options)


def _transformers_pixels(spec: str, options: EncoderOptions) -> PixelPlan:
    checkpoint = resolve(spec, revision=options.revision, patterns=_FILES)
    if timm_image.is_timm(checkpoint.config):
        return timm_image.pixel_plan(spec, options)
    _check_sense(spec, checkpoint, next(iter(_PICTURES)))
    return transformers_image.pixel_plan(checkpoint)


def _load_pixels(spec: str, *, modality: str, options: EncoderOptions) -> Encoder:
    name, rest = _family_of(spec)
    pixels = ENCODERS[name].pixels
    if pixels is None:
        raise EncoderError(f"encoder pixels:{spec}: {name} has no preprocessing of pictures")
    return load_pixels(spec, pixels(rest, options), modality=modality, options=options)


def _load_samples(spec: str, *, modality: str, options: EncoderOptions) -> Encoder:
    _, rest = _family_of(spec)
    checkpoint = resolve(rest, revision=options.revision, patterns=_FILES)
    _check_sense(spec, checkpoint, modality)
    return audio.load_samples(checkpoint, modality=modality, options=options)


def _check_sense(spec: str, checkpoint: Pretrained, modality: str) -> None:
    """Raise an error if a model listens and is wanted for pictures, or the other way round."""
    pictures = MODALITIES[modality].pictures
    if (checkpoint.model_type in audio.ARCHITECTURES) == pictures:
        raise EncoderError(
            f"encoder {spec!r} is a {checkpoint.model_type!r} model and cannot encode {modality}; "
            f"it takes one that {'looks at images' if pictures else 'listens to sound'}"
        )


class EncoderFamily(NamedTuple):
    """What may stand before the colon of an encoder's name.

    `load` takes what follows the colon, the modality and the user's choices; `pixels` says how
    encoders of a family that looks resize and crop, for `pixels:NAME`.
    """

    load: Callable[..., Encoder]
    modalities: tuple[str, ...]
    pixels: Callable[[str, EncoderOptions], PixelPlan] | None = None


_FILES = (CONFIG_NAME, *PROCESSOR_NAMES)
_PICTURES = tuple(name for name, modality in MODALITIES.items() if modality.pictures)
_SOUND = tuple(name for name, modality in MODALITIES.items() if modality.axes == "S")

#: "transformers" is meant where nothing stands before a colon.
ENCODERS: dict[str, EncoderFamily] = {
    "open_clip": EncoderFamily(open_clip_image.load, _PICTURES, open_clip_image.pixel_plan),
    "pixels": EncoderFamily(_load_pixels, _PICTURES),
    "samples": EncoderFamily(_load_samples, _SOUND),
    "timm": EncoderFamily(timm_image.load, _PICTURES, timm_image.pixel_plan),
    "transformers": EncoderFamily(_load_transformers, (*_PICTURES, *_SOUND), _transformers_pixels),
}


def _family_of(spec: str) -> tuple[str, str]:
    """Return the family that an encoder's name begins with, and what follows."""
    family, separator, rest = spec.partition(":")
    if not separator:
        family, rest = "transformers", spec
    if not rest.strip():
        raise ConfigError(f"encoder {spec!r}: a hub id, a folder or open_clip:MODEL is needed")
    if family not in ENCODERS:
        raise UnknownName("encoder family", family, list(ENCODERS))
    return family, rest
