"""A file → `Image`, through Pillow."""

import struct
import zlib
from pathlib import Path

import numpy as np
import PIL.Image

from ..errors import MediumDamaged, MediumError, MediumTooLarge, MediumUnreadable
from .media import Image, Limits, check_file

# What a data set of pictures holds. Formats that start a program (EPS), have no signature (TGA)
# or are not pictures are left out.
_FORMATS = (
    "JPEG", "MPO", "PNG", "WEBP", "GIF", "BMP", "DIB", "TIFF", "PPM", "JPEG2000", "AVIF", "ICO",
    "QOI",
)  # fmt: skip
_ORIENTATION_TAG = 0x0112
_TURN = {
    2: PIL.Image.Transpose.FLIP_LEFT_RIGHT,
    3: PIL.Image.Transpose.ROTATE_180,
    4: PIL.Image.Transpose.FLIP_TOP_BOTTOM,
    5: PIL.Image.Transpose.TRANSPOSE,
    6: PIL.Image.Transpose.ROTATE_270,
    7: PIL.Image.Transpose.TRANSVERSE,
    8: PIL.Image.Transpose.ROTATE_90,
}
# Pillow's readers raise any of these on bytes that break their format.
_BROKEN = (
    OSError, ValueError, SyntaxError, EOFError, IndexError, KeyError, TypeError, AttributeError,
    OverflowError, MemoryError, RuntimeError, struct.error, zlib.error,
)  # fmt: skip


def decode_image(path: Path, *, limits: Limits | None = None) -> Image:
    """Return the picture in a file as upright 8-bit RGB.

    The content decides, not the extension. The EXIF orientation is applied; transparency is laid
    over white (most transparent pictures are drawn for a light page); 16-bit grey is scaled to
    8 bits; of an animation the first frame is taken; colour profiles are not applied.

    Raises:
        MediumError: If it is missing, empty, over the limits (before any pixel is decoded), of no
            known format (`MediumUnreadable`), or cut short or corrupt (`MediumDamaged`).
    """
    limits = limits or Limits()
    check_file(path, limits=limits)
    with _open(path) as picture:
        _check_size(path, picture.size, limits)
        try:
            picture.load()
            return Image(_rgb(_upright(picture)))
        except MediumError:
            raise
        except _BROKEN as error:
            raise MediumDamaged(
                f"{path}: recognised as {picture.format}, then {_words(error)}"
            ) from error


def _words(error: BaseException) -> str:
    return str(error) or type(error).__name__


def _open(path: Path) -> PIL.Image.Image:
    PIL.Image.init()
    try:
        return PIL.Image.open(path, formats=[name for name in _FORMATS if name in PIL.Image.OPEN])
    except PIL.UnidentifiedImageError:
        raise MediumUnreadable(f"{path}: not an image in a known format") from None
    except PIL.Image.DecompressionBombError as error:
        raise MediumTooLarge(f"{path}: {error}") from None
    except _BROKEN as error:
        raise MediumDamaged(f"{path}: its header is broken: {_words(error)}") from error


def _check_size(path: Path, size: tuple[int, int], limits: Limits) -> None:
    width, height = size
    if width * height > limits.max_pixels:
        raise MediumTooLarge(
            f"{path}: {width} x {height} pixels, over the limit of {limits.max_pixels:,}"
        )


def _upright(picture: PIL.Image.Image) -> PIL.Image.Image:
    try:
        orientation = picture.getexif().get(_ORIENTATION_TAG, 1)
    except _BROKEN:  # a broken EXIF block does not spoil the pixels
        return picture
    turn = _TURN.get(orientation) if isinstance(orientation, int) else None
    return picture if turn is None else picture.transpose(turn)


def _rgb(picture: PIL.Image.Image) -> np.ndarray:
    if picture.mode in ("I", "F") or picture.mode.startswith("I;16"):
        return np.repeat(_grey8(picture)[:, :, None], 3, axis=2)
    if picture.has_transparency_data:
        layer = picture.convert("RGBA")
        page = PIL.Image.new("RGBA", layer.size, (255, 255, 255, 255))
        picture = PIL.Image.alpha_composite(page, layer)
    if picture.mode != "RGB":
        picture = picture.convert("RGB")
    return np.asarray(picture)


def _grey8(picture: PIL.Image.Image) -> np.ndarray:
    values = np.asarray(picture)
    if picture.mode == "F" or values.min() < 0 or values.max() > 65535:
        raise MediumUnreadable(
            f"{getattr(picture, 'filename', 'image')}: grey values of mode {picture.mode!r} from "
            f"{values.min()} to {values.max()} have no fixed range; save it with 8 or 16 bits"
        )
    return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)
