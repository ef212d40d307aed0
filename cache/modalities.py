"""The kinds of media, one row each: all that the code asks of a modality stands here."""

from collections.abc import Iterable
from dataclasses import dataclass

from ..errors import UnknownName


@dataclass(frozen=True, kw_only=True)
class Modality:
    """One kind of medium.

    Attributes:
        name: As on the command line, in manifests and as the folder of its feature sets.
        temporal: Whether it lies on a time axis: it has a span in seconds, and its vectors are
            steps to be pooled into one (section 3.1).
        unit: What one medium is called where media are counted.
        axes: Of a decoded medium: channels C, height H, width W, frames F, samples S.
        decoded_field: The one field of a set of decoded media: pixels resized and cropped as one
            encoder takes them, before rescaling and normalisation, or mono samples at its rate.
        decoded_dtype: The numpy name of that field's type.
        full_scale: The decoded number that stands for 1.0 to an encoder that runs live; 1 where
            the encoder takes the numbers as they are.
        default_field: The field of an encoder's output that is read unless another is named.
        default_encoder: The encoder that is taken where none is named, the paper's.
        shard_rows: The most media in a shard.
        unit_values: The decoded numbers that cost about as much to encode as one image of
            224 x 224 pixels: that image's, or a second of sound at 16 kHz.
    """

    name: str
    temporal: bool
    unit: str
    axes: str
    decoded_field: str
    decoded_dtype: str
    full_scale: int = 1
    default_field: str
    default_encoder: str
    shard_rows: int
    unit_values: int

    @property
    def pictures(self) -> bool:
        """Whether it is made of pixels, to be looked at."""
        return "HW" in self.axes

    @property
    def framed(self) -> bool:
        """Whether it is a row of pictures."""
        return self.axes.startswith("F")


_VIT = "google/vit-base-patch16-224-in21k"
_IMAGE_VALUES = 3 * 224 * 224
_PAPER_ORDER = (
    Modality(
        name="image",
        temporal=False,
        unit="image",
        axes="CHW",
        decoded_field="pixels",
        decoded_dtype="uint8",
        default_field="pooler",
        default_encoder=_VIT,
        shard_rows=1024,
        unit_values=_IMAGE_VALUES,
    ),
    Modality(
        name="video",
        temporal=True,
        unit="clip",
        axes="FCHW",
        decoded_field="pixels",
        decoded_dtype="uint8",
        default_field="pooler",
        default_encoder=_VIT,
        shard_rows=256,
        unit_values=_IMAGE_VALUES,
    ),
    Modality(
        name="audio",
        temporal=True,
        unit="clip",
        axes="S",
        decoded_field="samples",
        decoded_dtype="int16",
        full_scale=32_768,  # -32,768 stands for -1.0
        default_field="last_hidden_state",
        default_encoder="facebook/wav2vec2-base-960h",
        shard_rows=256,
        unit_values=16_000,
    ),
)

MODALITIES: dict[str, Modality] = {modality.name: modality for modality in _PAPER_ORDER}
"""Every modality by its name, in the order of the paper's sequence of segments."""


def find_modality(name: str) -> Modality:
    """Return the modality of that name."""
    if name not in MODALITIES:
        raise UnknownName("modality", name, list(MODALITIES))
    return MODALITIES[name]


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Return the modalities among `names`, each once, in the paper's order."""
    named = set(names)
    return tuple(name for name in MODALITIES if name in named)
