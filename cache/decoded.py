"""Decoded media as cached rows: what an encoder that runs live takes.

Pixels are resized and cropped as one encoder takes them, before rescaling and normalisation:
`[C, H, W] uint8` an image, `[F, C, H, W]` a video. Samples are mono at one encoder's rate: `[S]
int16`.
"""

from .manifest import Manifest

DECODED_FIELDS = {"image": "pixels", "video": "pixels", "audio": "samples"}
"""The one field of a set of decoded media, by modality."""

FULL_SCALE = 32_768
"""The int16 sample that stands for 1.0, were there one; -32,768 stands for -1.0."""


def is_decoded(manifest: Manifest) -> bool:
    """Returns whether a set holds decoded media, not an encoder's output."""
    names = [spec.name for spec in manifest.fields]
    return names == [DECODED_FIELDS.get(manifest.modality)]
