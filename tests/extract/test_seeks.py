"""Frames sought from key frames are those of the whole video, or the whole video is decoded."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from promptfuse.demo.mustard import Mustard
from promptfuse.extract import clips, seeks
from promptfuse.extract.clips import decode_clip
from promptfuse.extract.media import Frames, FrameSampling
from promptfuse.extract.packets import read_packets

from .media_files import flip_packets, noise_frames, tone, write_clip

FPS = 25
SPARSE = FrameSampling(count=3)


def moving(count: int) -> np.ndarray:
    """Return frames `[count, 48, 64, 3]` in which everything moves: each refers to others."""
    ground = noise_frames(1, width=16, height=16)[0].repeat(8, 0).repeat(8, 1)
    return np.stack([ground[i % 60 : i % 60 + 48, 2 * i % 60 :][:, :64] for i in range(count)])


def write_video(
    path: Path, codec: str, options: dict[str, str], *, ticks=None, **container
) -> Path:
    """Return the path of a video without sound; `ticks` are its frames' times at 1/1000 s."""
    frames = moving(len(ticks) if ticks is not None else 150)
    with av.open(str(path), "w", options=container) as target:
        stream = target.add_stream(codec, rate=FPS)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_count = 1
        stream.options = options
        if ticks is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        for at, picture in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            if ticks is not None:
                frame.pts, frame.time_base = int(ticks[at]), Fraction(1, 1000)
            target.mux(stream.encode(frame))
        target.mux(stream.encode(None))
    return path


@pytest.fixture
def sought(monkeypatch) -> list[bool]:
    """Let clips of any length be sought in; what is given is filled with how each ended."""
    ends: list[bool] = []

    def noted(*arguments) -> bool:
        ends.append(seeks.decode_runs(*arguments))
        return ends[-1]

    monkeypatch.setattr(seeks, "_LEAST_SAVED", 1)
    monkeypatch.setattr(clips, "decode_runs", noted)
    return ends


def assert_same_frames(path: Path, monkeypatch, video=SPARSE, **options) -> Frames:
    """Assert that the frames are those of the whole video, and return them."""
    found = decode_clip(path, video=video, audio_rate_hz=None, **options).frames
    with monkeypatch.context() as whole:
        whole.setattr(clips, "key_runs", lambda *_: [])
        expected = decode_clip(path, video=video, audio_rate_hz=None, **options).frames
    assert isinstance(found, Frames), found
    assert isinstance(expected, Frames), expected
    np.testing.assert_array_equal(found.timestamps_seconds, expected.timestamps_seconds)
    np.testing.assert_array_equal(found.pixels, expected.pixels)
    return found


X264 = {"g": "12", "preset": "veryfast"}
PYRAMID = "b-pyramid=normal:b-adapt=0"
VPX = {"g": "12", "deadline": "realtime", "cpu-used": "8"}
HIDDEN = {"g": "12", "auto-alt-ref": "1", "cpu-used": "8"}
KINDS = {
    "plain": ("libx264", {**X264, "bf": "0"}),
    "b-frames": ("libx264", {**X264, "bf": "3", "b_strategy": "0"}),
    "b-pyramid": ("libx264", {"g": "12", "preset": "slow", "x264-params": PYRAMID}),
    "open-gop": ("libx264", {**X264, "x264-params": "open-gop=1:bframes=3:b-adapt=0:scenecut=0"}),
    "interlaced": ("libx264", {**X264, "x264-params": "tff=1"}),
    "hevc-open-gop": ("libx265", {"x265-params": "keyint=12:open-gop=1:log-level=none:pools=1"}),
    "hevc": ("libx265", {"x265-params": "keyint=12:open-gop=0:log-level=none:pools=1"}),
    "vp8": ("libvpx", VPX),
    "vp8-hidden": ("libvpx", {**HIDDEN, "lag-in-frames": "8"}),
    "vp9": ("libvpx-vp9", VPX),
    "vp9-hidden": ("libvpx-vp9", {**HIDDEN, "lag-in-frames": "12"}),
    "av1": ("libsvtav1", {"g": "12", "preset": "13", "svtav1-params": "lp=1"}),
    "mpeg4": ("mpeg4", {"g": "12", "bf": "2"}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_sought_frames_are_those_of_the_whole_video(tmp_path, monkeypatch, sought, kind):
    codec, options = KINDS[kind]
    for extension in ["mkv"] if codec.startswith("libvpx") else ["mkv", "mp4"]:
        path = write_video(tmp_path / f"a.{extension}", codec, options)
        for count in (1, 2, 3, 5):
            assert_same_frames(path, monkeypatch, FrameSampling(count=count))
        assert_same_frames(path, monkeypatch, span_seconds=(1.5, 5.5))

    assert all(sought)


def test_variable_frame_rates(tmp_path, monkeypatch, sought):
    ticks = np.cumsum(np.random.default_rng(0).choice([20, 40, 40, 400], 150))
    path = write_video(tmp_path / "a.mp4", "libx264", {**X264, "bf": "2"}, ticks=ticks)
    for count in range(1, 7):
        assert_same_frames(path, monkeypatch, FrameSampling(count=count))
    assert all(sought)
    assert len(sought) > 3


def test_the_embedded_clips(tmp_path, monkeypatch, sought):
    Mustard(train=2, test=1).write(tmp_path, seed=0)
    for path in sorted(tmp_path.rglob("*.mp4")):
        for count in (1, 2, 8):
            assert_same_frames(path, monkeypatch, FrameSampling(count=count))


@pytest.mark.parametrize("kind", ["intra-refresh", "one-key-frame"])
def test_where_no_key_frame_helps_all_is_decoded(tmp_path, monkeypatch, sought, kind):
    params = {"intra-refresh": "intra-refresh=1:keyint=12", "one-key-frame": "keyint=infinite"}
    path = write_video(tmp_path / "a.mp4", "libx264", {"x264-params": params[kind]})
    assert_same_frames(path, monkeypatch)
    assert not any(sought)


def test_an_index_that_calls_every_frame_a_key_frame_is_not_believed(tmp_path, monkeypatch, sought):
    path = write_video(tmp_path / "a.mp4", "libx264", {**X264, "bf": "0"})
    lying = write_video(tmp_path / "b.mp4", "mpeg4", {"g": "12"})
    for broken in (path, lying):
        broken.write_bytes(broken.read_bytes().replace(b"stss", b"free"))
        assert_same_frames(broken, monkeypatch)

    def all_key(*arguments, **options):
        packets = read_packets(*arguments, **options)
        return replace(packets, key=np.ones_like(packets.key))

    sought.clear()
    monkeypatch.setattr(clips, "read_packets", all_key)
    assert_same_frames(path, monkeypatch)
    assert sought == [False]


def test_a_file_without_an_index_is_sought_in_by_what_was_read(tmp_path, monkeypatch, sought):
    path = write_video(tmp_path / "a.mkv", "libx264", X264, live="1")
    assert_same_frames(path, monkeypatch)
    fragmented = write_video(
        tmp_path / "a.mp4", "libx264", X264, movflags="frag_keyframe+empty_moov"
    )
    assert_same_frames(fragmented, monkeypatch)


def test_damage_in_what_is_decoded_is_found_by_decoding_all(tmp_path, monkeypatch, sought):
    path = write_video(tmp_path / "a.mp4", "libx264", {**X264, "bf": "0", "crf": "5"})
    flip_packets(path, "video", 72, 12)
    damaged = decode_clip(path, video=SPARSE, audio_rate_hz=None).frames
    assert "its video is damaged at" in str(damaged)
    assert sought == [False]


def test_sound_is_decoded_whole_beside_sought_frames(tmp_path, monkeypatch, sought):
    path = write_clip(tmp_path / "a.mp4", videos=[moving(150)], sounds=[tone(15, 48_000)])
    clip = decode_clip(path, video=SPARSE, audio_rate_hz=16_000)
    assert sought == [True]
    assert len(clip.frames.pixels) == 3
    assert clip.waveform.seconds == pytest.approx(15.0, abs=0.05)


def test_short_clips_are_decoded_whole(tmp_path, monkeypatch):
    path = write_video(tmp_path / "a.mp4", "libx264", X264)
    monkeypatch.setattr(clips, "decode_runs", None)
    assert len(decode_clip(path, video=SPARSE, audio_rate_hz=None).frames.pixels) == 3
