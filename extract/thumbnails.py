"""A small picture of an image, or of a few frames of a clip side by side."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL.Image

from ..cache.keys import file_sha256
from ..cache.modalities import MODALITIES
from ..errors import MediumError
from .clips import decode_clip
from .images import decode_image
from .media import Frames, FrameSampling

SIDE_PIXELS = 144
FRAMES = 3
_JPEG_QUALITY = 80


@dataclass(frozen=True)
class Thumbnail:
    """A JPEG and its size in pixels."""

    content: bytes
    width: int
    height: int


def draw_thumbnail(
    folder: Path, relative: str, modality: str, *, key: bytes | None = None
) -> Thumbnail | None:
    """Return a small picture of a medium below a folder, or None where none can be had.

    With the medium's key in the cache, another file at its place, or a part of one, is not drawn.
    """
    root = folder.resolve()
    path = (root / relative).resolve()
    kind = MODALITIES[modality]
    if not (kind.pictures and path.is_relative_to(root)):
        return None
    try:
        if key is not None and file_sha256(path) != key:
            return None
        return _strip(_frames(path) if kind.framed else [decode_image(path).pixels])
    except (MediumError, OSError):  # the answer is shown without it
        return None


def _frames(path: Path) -> Sequence[np.ndarray]:
    """Return a few frames, each `[H, W, 3] uint8`."""
    frames = decode_clip(path, video=FrameSampling(count=FRAMES), audio_rate_hz=None).frames
    if isinstance(frames, Frames):
        return list(frames.pixels)
    raise frames or MediumError(f"{path}: no frames")


def _strip(frames: Sequence[np.ndarray]) -> Thumbnail:
    pictures = [PIL.Image.fromarray(frame) for frame in frames]
    for picture in pictures:
        picture.thumbnail((SIDE_PIXELS, SIDE_PIXELS))
    width, height = pictures[0].size
    strip = PIL.Image.new("RGB", (width * len(pictures), height))
    for place, picture in enumerate(pictures):
        strip.paste(picture, (place * width, 0))
    file = io.BytesIO()
    strip.save(file, "JPEG", quality=_JPEG_QUALITY)
    return Thumbnail(file.getvalue(), *strip.size)
