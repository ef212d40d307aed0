import math
import os

import numpy as np
import pytest

from promptfuse.errors import (
    ConfigError,
    MediumEmpty,
    MediumMissing,
    MediumTooLarge,
    MediumUnreadable,
)
from promptfuse.extract.media import (
    Frames,
    FrameSampling,
    Image,
    Limits,
    Waveform,
    check_file,
    check_span,
)


def test_an_image_holds_rgb_bytes_only():
    assert Image(np.zeros((2, 3, 3), np.uint8)).pixels.shape == (2, 3, 3)
    with pytest.raises(ValueError, match=r"not float32 \[2, 3, 3\]"):
        Image(np.zeros((2, 3, 3), np.float32))
    with pytest.raises(ValueError, match=r"not uint8 \[2, 3, 4\]"):
        Image(np.zeros((2, 3, 4), np.uint8))


def test_frames_have_one_timestamp_each():
    with pytest.raises(ValueError, match="2 frames with 1 timestamps"):
        Frames(np.zeros((2, 4, 4, 3), np.uint8), np.zeros(1))
    with pytest.raises(ValueError, match="at least one frame"):
        Frames(np.zeros((0, 4, 4, 3), np.uint8), np.zeros(0))


def test_a_waveform_is_mono_float32():
    assert Waveform(np.zeros(800, np.float32), 16_000).seconds == 0.05
    with pytest.raises(ValueError, match=r"not float64 \[8\]"):
        Waveform(np.zeros(8), 16_000)
    with pytest.raises(ValueError, match=r"not float32 \[2, 8\]"):
        Waveform(np.zeros((2, 8), np.float32), 16_000)
    with pytest.raises(ValueError, match="sample_rate_hz must be positive, not 0"):
        Waveform(np.zeros(8, np.float32), 0)


def test_uniform_moments_are_the_middles_of_equal_spans():
    assert FrameSampling(count=4).moments(0, 2).tolist() == [0.25, 0.75, 1.25, 1.75]
    assert FrameSampling(count=1).moments(3, 5).tolist() == [4.0]


def test_fps_moments_follow_the_duration():
    sampling = FrameSampling("fps", fps=2.0, max_frames=6)
    assert sampling.moments(0, 2).tolist() == [0.25, 0.75, 1.25, 1.75]
    assert sampling.moments(0, 0.1).tolist() == [0.05], "one frame at least"
    assert sampling.moments(0, 12).tolist() == [1, 3, 5, 7, 9, 11], "thinned, not cut off"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rule": "random", "count": 2}, "not 'random'"),
        ({}, "uniform sampling takes a count and no fps: count=None"),
        ({"count": 2, "fps": 1.0}, "count=2, fps=1.0"),
        ({"count": 0}, "not 0"),
        ({"count": 300}, "1 to max_frames=256, not 300"),
        ({"rule": "fps"}, "fps=None"),
        ({"rule": "fps", "fps": 1.0, "count": 3}, "count=3, fps=1.0"),
        ({"rule": "fps", "fps": -1.0}, "not -1.0"),
        ({"rule": "fps", "fps": math.inf}, "not inf"),
        ({"rule": "fps", "fps": 1.0, "max_frames": 0}, "must be 1 to 4,096, not 0"),
    ],
)
def test_a_sampling_rule_that_makes_no_sense_is_refused(arguments, message):
    with pytest.raises(ConfigError, match=message):
        FrameSampling(**arguments)


@pytest.mark.parametrize("name", ["max_bytes", "max_pixels", "max_seconds"])
def test_limits_are_positive(name):
    with pytest.raises(ConfigError, match=f"{name} must be positive, not 0"):
        Limits(**{name: 0})


@pytest.mark.parametrize("span", [(1.0, 1.0), (2.0, 1.0), (-1.0, 1.0), (0.0, math.inf)])
def test_a_span_ends_after_it_starts(span):
    with pytest.raises(ValueError, match=rf"not \[{span[0]}, {span[1]}\)"):
        check_span(span)


def test_a_file_that_cannot_be_a_medium_is_named_with_its_reason(tmp_path):
    empty = tmp_path / "empty.jpg"
    empty.touch()
    big = tmp_path / "big.jpg"
    big.write_bytes(bytes(2000))
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(MediumMissing, match=r"none\.jpg: no such file"):
        check_file(tmp_path / "none.jpg", limits=Limits())
    with pytest.raises(MediumMissing, match=r"x\.jpg: no such file"):
        check_file(empty / "x.jpg", limits=Limits())
    with pytest.raises(MediumEmpty, match=r"empty\.jpg: the file has zero bytes"):
        check_file(empty, limits=Limits())
    with pytest.raises(MediumTooLarge, match=r"big\.jpg: 2,000 bytes, over the limit of 1,999"):
        check_file(big, limits=Limits(max_bytes=1999))
    with pytest.raises(MediumUnreadable, match="a folder, expected a media file"):
        check_file(tmp_path, limits=Limits())
    with pytest.raises(MediumUnreadable, match=r"pipe\.mp4: not a regular file"):
        check_file(tmp_path / "pipe.mp4", limits=Limits())
    check_file(big, limits=Limits(max_bytes=2000))
