"""Small pictures of media, for pages."""

import io

import numpy as np
import PIL.Image
import pytest

from promptfuse.cache.keys import file_sha256
from promptfuse.extract.thumbnails import FRAMES, draw_thumbnail

from .media_files import noise_frames, write_clip


def pixels_of(thumbnail):
    return np.asarray(PIL.Image.open(io.BytesIO(thumbnail.content)))


def test_an_image_is_made_smaller_with_its_shape_kept(tmp_path):
    PIL.Image.fromarray(np.full((300, 200, 3), 90, np.uint8)).save(tmp_path / "a.png")
    drawn = draw_thumbnail(tmp_path, "a.png", "image")
    assert (drawn.width, drawn.height) == (96, 144)  # 200 · 144 / 300
    assert pixels_of(drawn).shape == (144, 96, 3)
    assert abs(int(pixels_of(drawn).mean()) - 90) <= 2


def test_a_clip_is_three_frames_in_their_order(tmp_path):
    grey = np.stack([np.full((48, 64, 3), level, np.uint8) for level in range(10, 250, 20)])
    write_clip(tmp_path / "a.mp4", videos=[grey])
    drawn = draw_thumbnail(tmp_path, "a.mp4", "video")
    assert (drawn.width, drawn.height) == (FRAMES * 64, 48)
    levels = [pixels_of(drawn)[:, place * 64 : (place + 1) * 64].mean() for place in range(FRAMES)]
    # mid-points of thirds of 12 frames: the third, the seventh and the eleventh
    assert levels == pytest.approx([50, 130, 210], abs=4)


def test_sound_has_no_picture_and_nothing_outside_is_read(tmp_path):
    write_clip(tmp_path / "a.mp4", videos=[noise_frames(3)])
    (tmp_path / "in").mkdir()
    assert draw_thumbnail(tmp_path, "a.mp4", "audio") is None
    assert draw_thumbnail(tmp_path / "in", "../a.mp4", "video") is None
    assert draw_thumbnail(tmp_path, "absent.mp4", "video") is None


def test_another_file_at_a_mediums_place_is_not_drawn(tmp_path):
    path = tmp_path / "a.png"
    PIL.Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(path)
    key = file_sha256(path)
    assert draw_thumbnail(tmp_path, "a.png", "image", key=key) is not None
    PIL.Image.fromarray(np.ones((8, 8, 3), np.uint8)).save(path)
    assert draw_thumbnail(tmp_path, "a.png", "image", key=key) is None
