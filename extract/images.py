"""A file → `Image`, through Pillow."""

import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import PIL.Image

from ..errors import MediumDamaged, MediumError, MediumTooLarge, MediumUnreadable
from .media import Image, Limits, Size, check_file, check_pixels
from .room import Reserve

# What a data set of pictures holds. Formats that start a program (EPS), have no signature (TGA)
# or are not pictures are left out.
_FORMATS = (
    "JPEG", "MPO", "PNG", "WEBP", "GIF", "BMP", "DIB", "TIFF", "PPM", "JPEG2000", "AVIF", "ICO",
    "QOI",
)  # fmt: skip
_ORIENTATION_TAG = 0x0112
#: By orientation: an upright picture `[H, W, 3]` seen as it is stored.
_TURNED: Mapping[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda upright: upright,
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.transpose(1, 0, 2),
    6: lambda upright: np.rot90(upright, 1),
    7: lambda upright: upright[::-1, ::-1].transpose(1, 0, 2),
    8: lambda upright: np.rot90(upright, -1),
}
_BAND_PIXELS = 2**20  # converted at a time
_PIXEL_BYTES = 8  # Pillow's four, three of an array, and what an encoder resizes
# Pillow's readers raise any of these on bytes that break their format.
_BROKEN = (
    OSError, ValueError, SyntaxError, EOFError, IndexError, KeyError, TypeError, AttributeError,
    OverflowError, RuntimeError, struct.error, zlib.error,
)  # fmt: skip


# Blocks that the allocator returns to the system at once: smaller ones pile up in each thread.
PIL.Image.core.set_block_size(64 * 2**20)


def decode_image(
    path: Path,
    *,
    limits: Limits | None = None,
    reserve: Reserve | None = None,
    least: Size | None = None,
) -> Image:
    """Return the picture in a file as upright 8-bit RGB.

    With `least`, a JPEG is scaled down while it is decoded, by 2, 4 or 8, to no less than that.

    The content decides, not the extension. The EXIF orientation is applied; transparency is laid
    over white (most transparent pictures are drawn for a light page); 16-bit grey is scaled to
    8 bits; of an animation the first frame is taken; colour profiles are not applied. The memory
    that this takes is announced to `reserve` first.

    Raises:
        MediumError: If it is missing, empty, over the limits (before any pixel is decoded), of no
            known format (`MediumUnreadable`), or cut short or corrupt (`MediumDamaged`).
    """
    limits = limits or Limits()
    check_file(path, limits=limits)
    with _open(path) as picture:
        try:
            check_pixels(*picture.size, limits)
        except MediumTooLarge as error:
            raise error.of(path) from None
        if least is not None:
            _scale(picture, least)
        if reserve is not None:
            reserve(picture.width * picture.height * _PIXEL_BYTES)
        try:
            picture.load()
            return Image(_upright_rgb(picture, _orientation(picture)))
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


def _orientation(picture: PIL.Image.Image) -> int:
    try:
        orientation = picture.getexif().get(_ORIENTATION_TAG, 1)
    except _BROKEN:  # a broken EXIF block does not spoil the pixels
        return 1
    return orientation if orientation in _TURNED else 1


def _scale(picture: PIL.Image.Image, least: Size) -> None:
    height, width = least
    picture.draft(None, (height, width) if _orientation(picture) > 4 else (width, height))


def _upright_rgb(picture: PIL.Image.Image, orientation: int) -> np.ndarray:
    """Return `[H, W, 3] uint8`, made band by band, so that a large picture is not held thrice."""
    width, height = picture.size
    swapped = orientation > 4
    shape = (width, height) if swapped else (height, width)
    upright = np.empty((*shape, 3), np.uint8)
    stored = _TURNED[orientation](upright)
    to_rgb = _grey_rgb if _is_deep_grey(picture) else _rgb
    for band, rows in _bands(picture):
        stored[rows] = to_rgb(band)
    return upright


def _bands(picture: PIL.Image.Image) -> Iterator[tuple[PIL.Image.Image, slice]]:
    width, height = picture.size
    step = max(1, _BAND_PIXELS // width)
    if step >= height:
        yield picture, slice(None)
        return
    for top in range(0, height, step):
        bottom = min(top + step, height)
        yield picture.crop((0, top, width, bottom)), slice(top, bottom)


def _rgb(picture: PIL.Image.Image) -> np.ndarray:
    if picture.has_transparency_data:
        layer = picture.convert("RGBA")
        page = PIL.Image.new("RGBA", layer.size, (255, 255, 255, 255))
        picture = PIL.Image.alpha_composite(page, layer)
    if picture.mode != "RGB":
        picture = picture.convert("RGB")
    return np.asarray(picture)


def _is_deep_grey(picture: PIL.Image.Image) -> bool:
    """Return whether a picture is grey of 16 bits; raise `MediumUnreadable` for other depths."""
    if picture.mode.startswith("I;16"):
        return True
    if picture.mode not in ("I", "F"):
        return False
    extremes = [(values.min(), values.max()) for values in map(_values, _bands(picture))]
    least, most = min(low for low, _ in extremes), max(high for _, high in extremes)
    if picture.mode == "F" or least < 0 or most > 65535:
        raise MediumUnreadable(
            f"{getattr(picture, 'filename', 'image')}: grey values of mode {picture.mode!r} from "
            f"{least} to {most} have no fixed range; save it with 8 or 16 bits"
        )
    return True


def _values(band: tuple[PIL.Image.Image, slice]) -> np.ndarray:
    return np.asarray(band[0])


def _grey_rgb(picture: PIL.Image.Image) -> np.ndarray:
    grey = ((np.asarray(picture).astype(np.uint32) + 128) // 257).astype(np.uint8)
    return np.repeat(grey[:, :, None], 3, axis=2)
