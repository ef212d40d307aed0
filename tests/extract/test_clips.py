import shutil
import struct
from concurrent.futures import ThreadPoolExecutor

import av
import numpy as np
import pytest

from promptfuse.errors import (
    MediumTooLarge,
    MediumUnreadable,
    NoAudioStream,
    NoVideoStream,
    SpanOutside,
)
from promptfuse.extract.clips import decode_clip
from promptfuse.extract.media import FrameSampling, Limits

from .media_files import (
    CODECS,
    flip_bytes,
    grey,
    grey_frames,
    make_clip,
    rotate_mp4,
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


@pytest.mark.parametrize("extension", CODECS)
def test_every_container_gives_the_same_frames_and_sound(tmp_path, extension):
    clip = both(make_clip(tmp_path, extension))
    # Four spans of 0.5 s: mid-points 0.25, 0.75, …; at 10 frames a second frames 2, 7, 12, 17.
    # AVI's clock begins a frame early, so that there each may be its neighbour.
    assert clip.frames.timestamps_seconds == pytest.approx([0.2, 0.7, 1.2, 1.7], abs=0.12)
    off = 10 if extension == "avi" else 4
    assert greys(clip.frames) == pytest.approx([grey(i) for i in (2, 7, 12, 17)], abs=off)
    assert clip.frames.pixels.shape == (4, 48, 64, 3)
    assert clip.waveform.sample_rate_hz == 16_000
    assert clip.waveform.seconds == pytest.approx(2.0, abs=0.06)
    assert np.abs(clip.waveform.samples[8000:24000]).max() == pytest.approx(0.5, abs=0.05)


def test_mid_points_choose_exact_frames_in_mp4(tmp_path):
    clip = both(make_clip(tmp_path), video=FrameSampling(count=8))
    # Spans of 0.25 s: mid-points 0.125, 0.375, … fall on frames 1, 3, 6, 8, 11, 13, 16, 18.
    assert clip.frames.timestamps_seconds == pytest.approx([0.1, 0.3, 0.6, 0.8, 1.1, 1.3, 1.6, 1.8])
    assert greys(clip.frames) == pytest.approx(
        [grey(i) for i in (1, 3, 6, 8, 11, 13, 16, 18)], abs=2
    )


def test_repeats_are_not_invented(tmp_path):
    clip = both(make_clip(tmp_path, frames=3, seconds=0.3), video=ALL)
    assert greys(clip.frames) == pytest.approx([grey(0), grey(1), grey(2)], abs=2)


def test_fps_sampling(tmp_path):
    clip = both(make_clip(tmp_path), video=FrameSampling("fps", fps=5.0))
    assert len(clip.frames.pixels) == 10


def test_one_frame_is_a_video(tmp_path):
    path = write_clip(tmp_path / "one.mp4", videos=[grey_frames(1)])
    frames = decode_clip(path, video=FOUR, audio_rate_hz=None).frames
    assert greys(frames) == pytest.approx([grey(0)], abs=2)


def test_frames_are_transformed_as_they_are_decoded(tmp_path):
    alive = []

    def shrink(pixels):
        alive.append(pixels.shape)
        return pixels[:2, :2].astype(np.float32)

    clip = both(make_clip(tmp_path), transform_frame=shrink)
    assert alive == [(48, 64, 3)] * 4
    assert clip.frames.pixels.shape == (4, 2, 2, 3)
    assert clip.frames.pixels.dtype == np.float32


def test_an_error_of_the_transform_is_not_taken_for_damage(tmp_path):
    def fail(pixels):
        raise ZeroDivisionError("the caller's own")

    with pytest.raises(ZeroDivisionError, match="the caller's own"):
        both(make_clip(tmp_path), transform_frame=fail)


@pytest.mark.parametrize(("degrees", "turns"), [(0, 0), (90, -1), (180, 2), (270, 1)])
def test_the_display_rotation_is_applied(tmp_path, degrees, turns):
    picture = np.zeros((48, 64, 3), np.uint8)
    picture[:24, :32] = 200  # the corner that tells which way is up
    path = write_clip(tmp_path / "a.mp4", videos=[np.repeat(picture[None], 3, axis=0)])
    frames = decode_clip(rotate_mp4(path, degrees), video=FOUR, audio_rate_hz=None).frames
    expected = np.rot90(picture, turns).astype(int)
    assert frames.pixels[0].shape == expected.shape
    assert np.abs(frames.pixels[0] - expected).mean() < 6


def test_a_picture_that_changes_its_size_keeps_the_first(tmp_path):
    small = write_clip(tmp_path / "a.h264", videos=[grey_frames(5)])
    large = write_clip(tmp_path / "b.h264", videos=[grey_frames(5, width=128, height=96)])
    joined = tmp_path / "c.h264"  # a bare stream, also without any timestamp
    joined.write_bytes(small.read_bytes() + large.read_bytes())
    frames = decode_clip(joined, video=ALL, audio_rate_hz=None).frames
    assert frames.pixels.shape == (10, 48, 64, 3)
    assert greys(frames) == pytest.approx([grey(i) for i in range(5)] * 2, abs=3)


def test_sound_is_the_mean_of_its_channels_at_the_asked_rate(tmp_path):
    left, right = tone(1, 48_000, hertz=440), tone(1, 48_000, hertz=1000)
    path = write_wav(tmp_path / "a.wav", np.concatenate([left, right]), rate_hz=48_000)
    samples = decode_clip(path, video=None, audio_rate_hz=16_000).waveform.samples
    expected = (tone(1, 16_000, hertz=440) + tone(1, 16_000, hertz=1000))[0] / 2
    assert samples.dtype == np.float32
    assert len(samples) == 16_000
    assert np.abs(samples - expected)[500:-500].max() < 1e-3


def test_a_wav_at_the_asked_rate_is_not_resampled(tmp_path):
    sound = tone(0.5, 16_000)
    path = write_wav(tmp_path / "a.wav", sound)
    samples = decode_clip(path, video=None, audio_rate_hz=16_000).waveform.samples
    assert np.array_equal(samples, (sound[0] * 32767).astype(np.int16) / np.float32(32768))


@pytest.mark.parametrize(
    ("codec", "extension"),
    [("pcm_u8", "wav"), ("pcm_s24le", "wav"), ("pcm_f32le", "wav"), ("pcm_f64le", "wav"),
     ("flac", "flac"), ("mp3", "mp3"), ("aac", "aac"), ("libopus", "ogg"), ("aac", "m4a")],
)  # fmt: skip
def test_pure_sound_files(tmp_path, codec, extension):
    path = write_clip(
        tmp_path / f"a.{extension}", sounds=[tone(1, 48_000, channels=2)], audio_codec=codec
    )
    waveform = decode_clip(path, video=None, audio_rate_hz=16_000).waveform
    assert waveform.seconds == pytest.approx(1.0, abs=0.09)
    middle = waveform.samples[4000:12000]
    assert np.abs(middle).max() == pytest.approx(0.5, abs=0.06)
    spectrum = np.abs(np.fft.rfft(middle))
    assert np.argmax(spectrum) * 2 == 440  # a bin is 2 Hz


@pytest.mark.parametrize(
    ("layout", "channels", "codec", "extension"),
    [("5.1", 6, "flac", "flac"), ("7.1", 8, "flac", "flac"), ("7.1", 8, "aac", "mp4")],
)
def test_surround_sound_is_averaged(tmp_path, layout, channels, codec, extension):
    sound = np.zeros((channels, 48_000), np.float32)
    sound[2] = tone(1, 48_000)[0] * 1.6  # 0.8 in one of the channels
    path = write_clip(tmp_path / f"a.{extension}", sounds=[sound], audio_codec=codec, layout=layout)
    samples = decode_clip(path, video=None, audio_rate_hz=16_000).waveform.samples
    assert np.abs(samples[2000:-2000]).max() == pytest.approx(0.8 / channels, rel=0.1)


def test_more_channels_than_can_be_read(tmp_path):
    path = write_wav(tmp_path / "a.wav", np.zeros((9, 160), np.float32))
    clip = decode_clip(path, video=None, audio_rate_hz=16_000)
    assert isinstance(clip.waveform, MediumUnreadable)
    assert "a.wav: its sound has 9 channels, over 8" in str(clip.waveform)


def test_cover_art_is_not_video(tmp_path):
    song = write_clip(tmp_path / "a.mp3", sounds=[tone(1, 48_000)], audio_codec="mp3")
    picture = write_image(tmp_path / "cover.jpg").read_bytes()
    body = b"\0image/jpeg\0\3\0" + picture
    apic = b"APIC" + struct.pack(">IH", len(body), 0) + body
    size = bytes((len(apic) >> shift) & 0x7F for shift in (21, 14, 7, 0))
    song.write_bytes(b"ID3\3\0\0" + size + apic + song.read_bytes())
    with av.open(str(song)) as container:
        assert len(container.streams.video) == 1
    clip = both(song)
    assert isinstance(clip.frames, NoVideoStream)
    assert clip.waveform.seconds == pytest.approx(1.0, abs=0.05)


def test_each_stream_has_its_own_error(tmp_path):
    silent = both(write_clip(tmp_path / "silent.mp4", videos=[grey_frames(4)]))
    assert len(silent.frames.pixels) == 4
    assert isinstance(silent.waveform, NoAudioStream)
    assert "silent.mp4: no audio stream; the file holds: video" in str(silent.waveform)
    dark = both(write_clip(tmp_path / "dark.mp4", sounds=[tone(1, 48_000)]))
    assert isinstance(dark.frames, NoVideoStream)
    assert "dark.mp4: no video stream; the file holds: audio" in str(dark.frames)
    assert dark.waveform.seconds == pytest.approx(1.0, abs=0.05)


def test_a_stream_that_is_not_asked_for_is_left_alone(tmp_path):
    path = make_clip(tmp_path)
    assert decode_clip(path, video=FOUR, audio_rate_hz=None).waveform is None
    assert decode_clip(path, video=None, audio_rate_hz=16_000).frames is None


@pytest.mark.parametrize("default", [0, 1])
def test_of_two_of_each_the_default_is_taken(tmp_path, default):
    path = write_clip(
        tmp_path / "a.mkv",
        videos=[grey_frames(8), grey_frames(8, width=128, height=96)],
        sounds=[tone(0.8, 48_000, hertz=440), tone(0.8, 48_000, hertz=1000)],
        default=default,
    )
    clip = both(path)
    assert clip.frames.pixels.shape[1:3] == [(48, 64), (96, 128)][default]
    spectrum = np.abs(np.fft.rfft(clip.waveform.samples[2000:10_000]))
    assert np.argmax(spectrum) * 2 == [440, 1000][default]


@pytest.mark.parametrize("extension", CODECS)
def test_a_span_gives_its_own_frames_and_samples(tmp_path, extension):
    path = make_clip(tmp_path, extension, frames=40, seconds=4.0)
    whole = both(path, video=ALL)
    clip = both(path, video=FrameSampling(count=2), span_seconds=(2.0, 3.0))
    assert clip.frames.timestamps_seconds == pytest.approx([2.2, 2.7], abs=0.13)
    assert greys(clip.frames) == pytest.approx([grey(22), grey(27)], abs=10)
    assert len(clip.waveform.samples) == pytest.approx(16_000, abs=16)
    # The same sound as in the whole file, at the same place to within the container's start.
    piece, full = clip.waveform.samples[1000:15_000], whole.waveform.samples
    shifts = range(-400, 400)
    assert min(np.abs(full[33_000 + s : 47_000 + s] - piece).max() for s in shifts) < 0.02


def test_a_span_that_passes_the_end_stops_there(tmp_path):
    clip = both(make_clip(tmp_path), span_seconds=(1.5, 9.0))
    assert clip.frames.timestamps_seconds.tolist() == pytest.approx([1.5, 1.6, 1.8, 1.9], abs=0.11)
    assert clip.waveform.seconds == pytest.approx(0.5, abs=0.03)


def test_a_span_beyond_the_end_is_named(tmp_path):
    clip = both(make_clip(tmp_path), span_seconds=(5.0, 6.0))
    assert isinstance(clip.frames, SpanOutside)
    assert "its video ends at 2.00 s, before the span (5.0, 6.0)" in str(clip.frames)
    assert isinstance(clip.waveform, SpanOutside)


def test_an_empty_span_is_the_callers_mistake(tmp_path):
    with pytest.raises(ValueError, match=r"not \[2.0, 1.0\)"):
        both(make_clip(tmp_path), span_seconds=(2.0, 1.0))


@pytest.mark.parametrize(
    "script",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nclip.ts\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile clip.ts\n",
    ],
)
def test_a_playlist_cannot_pull_in_another_file(tmp_path, script):
    make_clip(tmp_path, "ts")
    (tmp_path / "list.mp4").write_text(script)
    with pytest.raises(MediumUnreadable, match=r"list\.mp4"):
        both(tmp_path / "list.mp4")


def test_the_extension_does_not_matter(tmp_path):
    path = make_clip(tmp_path, "mkv")
    shutil.move(path, tmp_path / "a.jpg")
    assert len(both(tmp_path / "a.jpg").frames.pixels) == 4


@pytest.mark.parametrize("name", ["a b%03d.mp4", "é漢.mp4", "-i.mp4", "http:x.mp4"])
def test_names_that_a_tool_might_misread(tmp_path, name):
    shutil.move(make_clip(tmp_path), tmp_path / name)
    assert len(both(tmp_path / name).frames.pixels) == 4


def test_limits_are_kept_per_stream(tmp_path):
    path = make_clip(tmp_path)
    clip = both(path, limits=Limits(max_seconds=1.0))
    assert isinstance(clip.frames, MediumTooLarge)
    assert "clip.mp4: 2.0 s of video, over the limit of 1 s" in str(clip.frames)
    assert isinstance(clip.waveform, MediumTooLarge)
    assert "its sound is over the limit of 1 s" in str(clip.waveform)
    assert clip.frames.limit == clip.waveform.limit == {"max_seconds": 1.0}
    short = both(path, limits=Limits(max_seconds=1.0), span_seconds=(0.5, 1.0))
    assert len(short.frames.pixels) == 4
    small = both(path, limits=Limits(max_pixels=3071))
    assert isinstance(small.frames, MediumTooLarge)
    assert "64 x 48 pixels, over the limit of 3,071" in str(small.frames)
    assert small.frames.limit == {"max_pixels": 3071}
    assert small.waveform.seconds == pytest.approx(2.0, abs=0.05)
    with pytest.raises(MediumTooLarge, match="over the limit of 100"):
        both(path, limits=Limits(max_bytes=100))


def test_threads_decode_side_by_side(tmp_path):
    paths = []
    for i, extension in enumerate(["mp4", "mkv", "webm", "avi"]):
        (tmp_path / str(i)).mkdir()
        paths.append(make_clip(tmp_path / str(i), extension))
    alone = [both(path) for path in paths]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(both, paths * 5))
    for one, other in zip(alone * 5, together, strict=True):
        assert np.array_equal(one.frames.pixels, other.frames.pixels)
        assert np.array_equal(one.waveform.samples, other.waveform.samples)


def test_decoding_says_nothing_on_stderr(tmp_path, capfd):
    path = make_clip(tmp_path, frames=40, seconds=4.0, noise=True)
    both(flip_bytes(path, 0.5, 0.6))
    assert capfd.readouterr() == ("", "")
