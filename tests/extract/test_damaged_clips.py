"""Clips that are cut short, broken in the middle, or not clips at all."""

import struct

import av
import numpy as np
import pytest

from promptfuse.errors import MediumDamaged, MediumEmpty, MediumMissing, MediumUnreadable
from promptfuse.extract.clips import decode_clip
from promptfuse.extract.media import FrameSampling

from .media_files import (
    cut_short,
    flip_bytes,
    flip_packets,
    grey,
    make_clip,
    noise_frames,
    tone,
    write_clip,
    write_image,
    write_wav,
)

ALL = FrameSampling(count=256)
FOUR = FrameSampling(count=4)


def both(path, video=FOUR, **options):
    return decode_clip(path, video=video, audio_rate_hz=16_000, **options)


def greys(frames):
    return frames.pixels.reshape(len(frames.pixels), -1).mean(axis=1)


@pytest.mark.parametrize("extension", ["mp4", "mkv", "webm", "avi"])
def test_a_video_cut_short_is_damaged(tmp_path, extension):
    path = make_clip(tmp_path, extension, frames=40, seconds=4.0, noise=True)
    clip = both(cut_short(path, 0.6))
    assert isinstance(clip.frames, MediumDamaged)
    assert "its video is cut short: it ends at 2." in str(clip.frames)


@pytest.mark.parametrize("extension", ["mp4", "mkv"])
def test_sound_cut_short_is_damaged(tmp_path, extension):
    path = make_clip(tmp_path, extension, frames=40, seconds=4.0, noise=True)
    clip = both(cut_short(path, 0.6))
    assert isinstance(clip.waveform, MediumDamaged)
    assert "its audio is cut short: it ends at 2." in str(clip.waveform)


@pytest.mark.parametrize("extension", ["mp4", "mkv", "avi", "ts"])
def test_damage_in_the_middle_is_named_with_its_time(tmp_path, extension):
    path = make_clip(tmp_path, extension, frames=40, seconds=4.0, noise=True)
    if extension == "ts":  # its packets have no place of their own in the file
        flip_bytes(path, 0.5, 0.6)
    else:
        flip_packets(path, "video", 18, 4)
    clip = both(path)
    assert isinstance(clip.frames, MediumDamaged)
    assert f"clip.{extension}: its video is damaged at " in str(clip.frames)
    assert 1.5 < float(str(clip.frames).split("damaged at ")[1].split(" s")[0]) < 3.0


@pytest.mark.parametrize(("hurt", "whole"), [("video", "waveform"), ("audio", "frames")])
def test_damage_in_one_stream_leaves_the_other(tmp_path, hurt, whole):
    path = make_clip(tmp_path, frames=40, seconds=4.0, noise=True)
    untouched = getattr(both(path), whole)
    clip = both(flip_packets(path, hurt, 18, 4))
    damaged = clip.frames if hurt == "video" else clip.waveform
    assert isinstance(damaged, MediumDamaged)
    assert f"its {hurt} is damaged at " in str(damaged)
    field = "samples" if whole == "waveform" else "pixels"
    assert np.array_equal(getattr(getattr(clip, whole), field), getattr(untouched, field))


def test_sound_lost_from_the_middle_is_damage(tmp_path):
    path = write_clip(tmp_path / "a.flac", sounds=[tone(4, 48_000, channels=2)], audio_codec="flac")
    clip = decode_clip(flip_bytes(path, 0.4, 0.7), video=None, audio_rate_hz=16_000)
    assert isinstance(clip.waveform, MediumDamaged)
    assert "of its sound are missing at 1." in str(clip.waveform)


def test_a_clip_that_starts_between_key_frames_is_used(tmp_path):
    whole = write_clip(tmp_path / "a.mkv", videos=[noise_frames(20)])
    late = tmp_path / "b.mkv"
    with av.open(str(whole)) as source, av.open(str(late), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in list(source.demux(video=0))[2:-1]:
            packet.stream = stream
            target.mux(packet)
    frames = decode_clip(late, video=ALL, audio_rate_hz=None).frames
    assert 10 < len(frames.pixels) < 20


def test_duration_in_the_header_need_not_be_true(tmp_path):
    path = make_clip(tmp_path)
    data = bytearray(path.read_bytes())
    for box, offset in [(b"mvhd", 16), (b"tkhd", 20), (b"mdhd", 16)]:
        at = data.find(box)
        while at >= 0:
            struct.pack_into(">I", data, at + 4 + offset, 100_000_000)
            at = data.find(box, at + 1)
    path.write_bytes(data)
    clip = both(path)
    assert greys(clip.frames) == pytest.approx([grey(i) for i in (2, 7, 12, 17)], abs=2)
    assert clip.waveform.seconds == pytest.approx(2.0, abs=0.05)


def test_a_wav_cut_short_is_damaged_and_a_streamed_one_is_not(tmp_path):
    path = write_wav(tmp_path / "a.wav", tone(2, 16_000))
    streamed = bytearray(path.read_bytes())
    struct.pack_into("<I", streamed, 4, 0xFFFFFFFF)
    struct.pack_into("<I", streamed, 40, 0xFFFFFFFF)
    (tmp_path / "b.wav").write_bytes(streamed)
    clip = decode_clip(cut_short(path, 0.6), video=None, audio_rate_hz=16_000)
    assert isinstance(clip.waveform, MediumDamaged)
    assert "a.wav: cut short: its header declares more bytes" in str(clip.waveform)
    whole = decode_clip(tmp_path / "b.wav", video=None, audio_rate_hz=16_000)
    assert len(whole.waveform.samples) == 32_000


def test_sound_that_is_not_a_number_is_damaged(tmp_path):
    path = write_clip(tmp_path / "a.wav", sounds=[tone(1, 48_000)], audio_codec="pcm_f32le")
    data = bytearray(path.read_bytes())
    struct.pack_into("<f", data, len(data) // 8 * 4, float("nan"))
    path.write_bytes(data)
    clip = decode_clip(path, video=None, audio_rate_hz=48_000)
    assert isinstance(clip.waveform, MediumDamaged)
    assert "a.wav: its audio stream holds NaN" in str(clip.waveform)


@pytest.mark.parametrize("extension", ["mp4", "mkv", "webm", "avi"])
def test_a_header_cut_off_is_damaged(tmp_path, extension):
    path = make_clip(tmp_path, extension)
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(MediumDamaged, match=rf"clip\.{extension}: begins as .* header is broken"):
        both(path)


def test_an_mp4_whose_index_was_at_its_lost_end_is_damaged(tmp_path):
    path = make_clip(tmp_path, options={"movflags": "0"})
    with pytest.raises(MediumDamaged, match=r"clip\.mp4: begins as an MP4"):
        both(cut_short(path, 0.5))


def test_what_is_not_a_clip_is_unreadable(tmp_path):
    text = tmp_path / "a.mp4"
    text.write_text("<html>404 not found</html>" * 50)
    with pytest.raises(MediumUnreadable, match=r"a\.mp4: not a video or sound file"):
        both(text)
    with pytest.raises(MediumUnreadable, match=r"b\.png: not a video or sound file"):
        both(write_image(tmp_path / "b.png"))
    (tmp_path / "c.mp4").touch()
    with pytest.raises(MediumEmpty, match=r"c\.mp4"):
        both(tmp_path / "c.mp4")
    with pytest.raises(MediumMissing, match=r"d\.mp4"):
        both(tmp_path / "d.mp4")
