import shutil
import struct
import zlib

import numpy as np
import PIL.Image
import pytest

from promptfuse.errors import (
    MediumDamaged,
    MediumEmpty,
    MediumMissing,
    MediumTooLarge,
    MediumUnreadable,
)
from promptfuse.extract import images
from promptfuse.extract.images import decode_image
from promptfuse.extract.media import Limits

from .media_files import cut_short, noise_frames, write_image

PIXELS = noise_frames(1, width=5, height=4)[0]
PICTURE = PIL.Image.fromarray(PIXELS)


@pytest.mark.parametrize("extension", ["png", "bmp", "tiff", "ppm", "webp"])
def test_lossless_formats_give_back_the_pixels(tmp_path, extension):
    path = tmp_path / f"a.{extension}"
    PICTURE.save(path, **({"lossless": True} if extension == "webp" else {}))
    assert np.array_equal(decode_image(path).pixels, PIXELS)


def test_the_content_decides_not_the_extension(tmp_path):
    PICTURE.save(tmp_path / "a.png")
    shutil.copy(tmp_path / "a.png", tmp_path / "a.jpg")
    shutil.copy(tmp_path / "a.png", tmp_path / "a.mp4")
    assert np.array_equal(decode_image(tmp_path / "a.jpg").pixels, PIXELS)
    assert np.array_equal(decode_image(tmp_path / "a.mp4").pixels, PIXELS)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_undone(tmp_path, orientation):
    # The stored picture for each tag, from the EXIF standard's "0th row, 0th column" wording.
    stored = {
        1: PIXELS,
        2: PIXELS[:, ::-1],
        3: PIXELS[::-1, ::-1],
        4: PIXELS[::-1],
        5: PIXELS.transpose(1, 0, 2),
        6: np.rot90(PIXELS, 1),
        7: PIXELS[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(PIXELS, -1),
    }[orientation]
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "a.png"
    PIL.Image.fromarray(np.ascontiguousarray(stored)).save(path, exif=exif)
    assert np.array_equal(decode_image(path).pixels, PIXELS)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize("tag", [b"Exif\0\0garbage", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\0\0"])
def test_a_broken_exif_block_does_not_spoil_the_picture(tmp_path, tag):
    path = write_image(tmp_path / "a.jpg", exif=tag)
    assert decode_image(path).pixels.shape == (30, 40, 3)


def test_transparency_is_laid_over_white(tmp_path):
    rgba = np.zeros((1, 3, 4), np.uint8)
    rgba[0, :, 3] = [0, 51, 255]  # black that is clear, a fifth opaque, opaque
    PIL.Image.fromarray(rgba).save(tmp_path / "a.png")
    assert decode_image(tmp_path / "a.png").pixels[0, :, 0].tolist() == [255, 204, 0]


def test_a_palette_with_a_transparent_entry(tmp_path):
    picture = PIL.Image.new("P", (2, 1))
    picture.putpalette([10, 20, 30, 200, 100, 50])
    picture.putpixel((1, 0), 1)
    picture.save(tmp_path / "opaque.png")
    picture.save(tmp_path / "clear.png", transparency=0)
    assert decode_image(tmp_path / "opaque.png").pixels.tolist() == [[[10, 20, 30], [200, 100, 50]]]
    assert decode_image(tmp_path / "clear.png").pixels.tolist() == [[[255] * 3, [200, 100, 50]]]


def test_grey_one_bit_and_cmyk_become_rgb(tmp_path):
    PIL.Image.new("L", (2, 2), 77).save(tmp_path / "grey.png")
    PIL.Image.new("1", (2, 2), 1).save(tmp_path / "bit.png")
    PIL.Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "cmyk.tiff")
    assert decode_image(tmp_path / "grey.png").pixels.tolist() == [[[77] * 3] * 2] * 2
    assert decode_image(tmp_path / "bit.png").pixels.tolist() == [[[255] * 3] * 2] * 2
    assert decode_image(tmp_path / "cmyk.tiff").pixels[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("extension", ["png", "tiff"])
def test_sixteen_bit_grey_is_scaled_not_clipped(tmp_path, extension):
    values = np.array([[0, 257, 32768, 65535]], np.uint16)
    PIL.Image.fromarray(values).save(tmp_path / f"a.{extension}")
    pixels = decode_image(tmp_path / f"a.{extension}").pixels
    assert pixels[0, :, 0].tolist() == [0, 1, 128, 255]
    assert pixels.shape == (1, 4, 3)


def test_grey_without_a_fixed_range_is_refused(tmp_path):
    PIL.Image.fromarray(np.array([[0.0, 0.5]], np.float32)).save(tmp_path / "a.tiff")
    with pytest.raises(MediumUnreadable, match=r"a\.tiff: grey values of mode 'F' from 0\.0 to 0"):
        decode_image(tmp_path / "a.tiff")


def test_the_first_frame_of_an_animation_is_taken(tmp_path):
    first, second = PIL.Image.new("RGB", (4, 4), "red"), PIL.Image.new("RGB", (4, 4), "blue")
    first.save(tmp_path / "a.gif", save_all=True, append_images=[second], duration=100)
    assert decode_image(tmp_path / "a.gif").pixels[0, 0].tolist() == [255, 0, 0]


def test_what_is_not_a_picture_is_unreadable(tmp_path):
    text = tmp_path / "a.jpg"
    text.write_text("<html>404 not found</html>")
    with pytest.raises(MediumUnreadable, match=r"a\.jpg: not an image"):
        decode_image(text)
    script = tmp_path / "b.jpg"
    script.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\nshowpage\n")
    with pytest.raises(MediumUnreadable, match=r"b\.jpg: not an image"):
        decode_image(script)


def test_a_missing_and_an_empty_file(tmp_path):
    (tmp_path / "empty.png").touch()
    with pytest.raises(MediumMissing, match=r"none\.png"):
        decode_image(tmp_path / "none.png")
    with pytest.raises(MediumEmpty, match=r"empty\.png"):
        decode_image(tmp_path / "empty.png")


@pytest.mark.parametrize("extension", ["jpg", "png", "webp", "gif", "bmp", "tiff"])
@pytest.mark.parametrize("fraction", [0.5, 0.9])
def test_a_picture_cut_short_is_damaged(tmp_path, extension, fraction):
    path = write_image(tmp_path / f"cut.{extension}", size=(200, 200))
    with pytest.raises(MediumDamaged, match=rf"cut\.{extension}: "):
        decode_image(cut_short(path, fraction))


def test_a_png_with_a_wrong_checksum_is_damaged(tmp_path):
    path = write_image(tmp_path / "a.png", size=(100, 100))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(MediumDamaged, match=r"a\.png: recognised as PNG"):
        decode_image(path)


def test_a_bomb_is_refused_before_it_is_decoded(tmp_path):
    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(10))), (b"IEND", b"")]
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
    (tmp_path / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    with pytest.raises(MediumTooLarge, match=r"bomb\.png: .*10000000000 pixels"):
        decode_image(tmp_path / "bomb.png")


def test_the_limits_are_the_callers(tmp_path):
    path = write_image(tmp_path / "a.png", size=(40, 30))
    assert decode_image(path, limits=Limits(max_pixels=1200)).pixels.shape == (30, 40, 3)
    with pytest.raises(MediumTooLarge, match=r"a\.png: 40 x 30 pixels, over the limit of 1,199"):
        decode_image(path, limits=Limits(max_pixels=1199))
    with pytest.raises(MediumTooLarge, match=r"bytes, over the limit of 10"):
        decode_image(path, limits=Limits(max_bytes=10))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "L", "CMYK", "I;16", "LA"])
def test_large_pictures_are_converted_band_by_band_to_the_same_pixels(
    tmp_path, monkeypatch, mode, orientation
):
    rng = np.random.default_rng(orientation)
    if mode == "I;16":
        picture = PIL.Image.fromarray(rng.integers(0, 2**16, (23, 17), np.uint16))
    else:
        picture = PIL.Image.fromarray(rng.integers(0, 256, (23, 17, 4), np.uint8), "RGBA")
        picture = picture.convert("RGB").convert(mode) if mode in ("P", "CMYK") else picture
        picture = picture.convert(mode)
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / ("a.tiff" if mode == "CMYK" else "a.png")
    picture.save(path, exif=exif)
    whole = decode_image(path).pixels
    monkeypatch.setattr(images, "_BAND_PIXELS", 17 * 5)
    assert np.array_equal(decode_image(path).pixels, whole)


@pytest.mark.parametrize(
    ("least", "shape"),
    [((60, 80), (60, 80)), ((61, 80), (120, 160)), ((20, 20), (30, 40)), ((300, 9), (240, 320))],
)
@pytest.mark.parametrize("orientation", [1, 6])
def test_a_jpeg_is_scaled_to_no_less_than_is_needed(tmp_path, least, shape, orientation):
    coarse = PIL.Image.fromarray(noise_frames(1, width=5, height=4)[0]).resize((320, 240))
    picture = np.asarray(coarse if orientation == 1 else coarse.transpose(PIL.Image.ROTATE_90))
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "a.jpg"
    PIL.Image.fromarray(picture).save(path, exif=exif, quality=95)
    scaled = decode_image(path, least=least).pixels
    assert scaled.shape == (*shape, 3)
    near = PIL.Image.fromarray(decode_image(path).pixels).resize(shape[::-1], PIL.Image.BOX)
    assert np.abs(scaled.astype(int) - np.asarray(near)).mean() < 2


def test_only_jpegs_are_scaled_and_limits_are_on_their_own_size(tmp_path):
    for name in ("a.png", "a.jpg"):
        write_image(tmp_path / name, size=(64, 64))
        with pytest.raises(MediumTooLarge, match="64 x 64 pixels, over the limit of 4,000"):
            decode_image(tmp_path / name, least=(8, 8), limits=Limits(max_pixels=4000))
    assert decode_image(tmp_path / "a.png", least=(8, 8)).pixels.shape == (64, 64, 3)
    assert decode_image(tmp_path / "a.jpg", least=(8, 8)).pixels.shape == (8, 8, 3)
    grey = PIL.Image.new("L", (64, 64), 77)
    grey.save(tmp_path / "grey.jpg")
    assert (decode_image(tmp_path / "grey.jpg", least=(8, 8)).pixels == 77).all()


@pytest.mark.parametrize("size", [(1, 400_000), (400_000, 2)])
def test_a_picture_that_scaling_would_blow_up_is_refused(tmp_path, size):
    PIL.Image.new("L", size).save(tmp_path / "thin.png")
    with pytest.raises(MediumTooLarge, match=f"{size[0]} x {size[1]} pixels: so long") as caught:
        decode_image(tmp_path / "thin.png", limits=Limits(max_pixels=10**6))
    assert caught.value.limit == {"max_pixels": 64_000_000}
    large = decode_image(tmp_path / "thin.png", limits=Limits(max_pixels=10**9))
    assert large.pixels.shape == (size[1], size[0], 3)


def test_the_limit_that_refused_is_kept(tmp_path):
    PICTURE.save(tmp_path / "a.png")
    with pytest.raises(MediumTooLarge, match="5 x 4 pixels") as caught:
        decode_image(tmp_path / "a.png", limits=Limits(max_pixels=19))
    assert caught.value.limit == {"max_pixels": 19}
    with pytest.raises(MediumTooLarge, match="over the limit of 10") as caught:
        decode_image(tmp_path / "a.png", limits=Limits(max_bytes=10))
    assert caught.value.limit == {"max_bytes": 10}
