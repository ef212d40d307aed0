"""Decoded media as cached rows: what an encoder that runs live takes.

Pixels are resized and cropped as one encoder takes them, before rescaling and normalisation:
`[C, H, W] uint8` an image, `[F, C, H, W]` a video. Samples are mono at one encoder's rate: `[S]
int16`.
"""

from .manifest import Manifest
from .modalities import MODALITIES


def is_decoded(manifest: Manifest) -> bool:
    """Return whether a set holds decoded media, not an encoder's output."""
    modality = MODALITIES.get(manifest.modality)
    names = [spec.name for spec in manifest.fields]
    return modality is not None and names == [modality.decoded_field]
