"""Small media files for tests, whose right decoding is known: frame i has the grey value of i."""

import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import PIL.Image
from av.stream import Disposition


def tone(seconds: float, rate_hz: int, *, hertz: float = 440.0, channels: int = 1) -> np.ndarray:
    """Returns `[channels, S] float32`, a sine at half scale, the same in every channel."""
    times = np.arange(round(seconds * rate_hz)) / rate_hz
    wave = (0.5 * np.sin(2 * np.pi * hertz * times)).astype(np.float32)
    return np.repeat(wave[None], channels, axis=0)


def grey_frames(count: int, *, width: int = 64, height: int = 48) -> np.ndarray:
    """Returns `[count, height, width, 3] uint8`; frame i is flat grey of value `grey(i)`."""
    values = np.array([grey(i) for i in range(count)], np.uint8)
    return np.broadcast_to(values[:, None, None, None], (count, height, width, 3))


def grey(index: int) -> int:
    """Returns the grey value of a frame, far enough from its neighbours' to survive coding."""
    return 16 + (index * 7) % 220


def noise_frames(count: int, *, width: int = 64, height: int = 48, seed: int = 0) -> np.ndarray:
    """Returns `[count, height, width, 3] uint8` of noise, which fills a file with picture bytes."""
    generator = np.random.default_rng(seed)
    return generator.integers(0, 256, (count, height, width, 3), dtype=np.uint8)


def write_clip(
    path: Path,
    *,
    videos: Sequence[np.ndarray] = (),
    sounds: Sequence[np.ndarray] = (),
    fps: int = 10,
    rate_hz: int = 48_000,
    video_codec: str = "libx264",
    audio_codec: str = "aac",
    layout: str | None = None,
    options: dict[str, str] | None = None,
    default: int | None = None,
) -> Path:
    """Returns the path, a container with these streams of frames and of `[channels, S]` sound.

    `default` is the place of the video and of the sound that are marked as the default.
    """
    with av.open(str(path), "w", options=options or {}) as container:
        pictures = [_video_stream(container, frames, fps, video_codec) for frames in videos]
        tracks = [
            container.add_stream(
                audio_codec, rate=rate_hz, layout=layout or {1: "mono", 2: "stereo"}[len(sound)]
            )
            for sound in sounds
        ]
        if default is not None:
            for streams in (pictures, tracks):
                for place, stream in enumerate(streams):
                    stream.disposition = Disposition(int(place == default))
        for stream, frames in zip(pictures, videos, strict=True):
            for picture in frames:
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        for stream, sound in zip(tracks, sounds, strict=True):
            for frame in _sound_frames(sound, rate_hz, str(stream.layout.name)):
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    return path


def _video_stream(container, frames, fps, codec):
    stream = container.add_stream(codec, rate=fps)
    stream.height, stream.width = frames.shape[1:3]
    stream.pix_fmt = "yuv420p"
    stream.codec_context.thread_count = 1
    if codec == "libx264":
        stream.options = {"crf": "10", "g": "5", "bf": "2"}
    return stream


def _sound_frames(sound: np.ndarray, rate_hz: int, layout: str):
    for start in range(0, sound.shape[1], 1024):
        piece = sound[:, start : start + 1024].T.reshape(1, -1)  # packed: PyAV has 7 planes at most
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(piece), "flt", layout)
        frame.sample_rate = rate_hz
        frame.time_base = Fraction(1, rate_hz)
        frame.pts = start
        yield frame


def write_wav(path: Path, sound: np.ndarray, *, rate_hz: int = 16_000) -> Path:
    """Returns the path, a 16-bit WAV of `[channels, S] float32`, written byte by byte."""
    data = (sound.T * 32767).astype("<i2").tobytes()
    channels = len(sound)
    form = struct.pack("<HHIIHH", 1, channels, rate_hz, rate_hz * channels * 2, channels * 2, 16)
    chunks = b"fmt " + struct.pack("<I", 16) + form + b"data" + struct.pack("<I", len(data)) + data
    path.write_bytes(b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks)
    return path


def write_image(path: Path, *, size: tuple[int, int] = (40, 30), **save) -> Path:
    """Returns the path, a noise picture of `size` (width, height) in the extension's format."""
    width, height = size
    PIL.Image.fromarray(noise_frames(1, width=width, height=height)[0]).save(path, **save)
    return path


def flip_bytes(path: Path, start: float, end: float) -> Path:
    """Returns the path, the bytes from one fraction of the file to another inverted."""
    data = bytearray(path.read_bytes())
    first, last = int(start * len(data)), int(end * len(data))
    data[first:last] = bytes(byte ^ 0xFF for byte in data[first:last])
    path.write_bytes(bytes(data))
    return path


def flip_packets(path: Path, kind: str, first: int, count: int) -> Path:
    """Returns the path, the insides of some packets of the first `kind` stream inverted."""
    with av.open(str(path)) as container:
        stream = next(stream for stream in container.streams if stream.type == kind)
        packets = [packet for packet in container.demux(stream) if packet.size]
        places = [(int(packet.pos or 0), packet.size) for packet in packets]
    data = bytearray(path.read_bytes())
    for start, size in places[first : first + count]:
        inside = slice(start + 20, start + size)
        data[inside] = bytes(byte ^ 0xFF for byte in data[inside])
    path.write_bytes(bytes(data))
    return path


def cut_short(path: Path, fraction: float) -> Path:
    """Returns the path, the file's first `fraction` of its bytes."""
    data = path.read_bytes()
    path.write_bytes(data[: int(fraction * len(data))])
    return path


def rotate_mp4(path: Path, degrees: int) -> Path:
    """Returns the path; the first track's display matrix turns by 90 degrees clockwise steps."""
    data = bytearray(path.read_bytes())
    matrix = data.index(b"tkhd") + 4 + 40
    cos, sin = {0: (1, 0), 90: (0, 1), 180: (-1, 0), 270: (0, -1)}[degrees]
    one = 1 << 16
    values = (cos * one, sin * one, 0, -sin * one, cos * one, 0, 0, 0, 1 << 30)
    struct.pack_into(">9i", data, matrix, *values)
    path.write_bytes(bytes(data))
    return path


CODECS = {
    "mp4": ("libx264", "aac"),
    "mkv": ("libx264", "aac"),
    "webm": ("libvpx", "libopus"),
    "avi": ("mpeg4", "mp3"),
    "ts": ("libx264", "aac"),
}


def make_clip(
    folder: Path,
    extension: str = "mp4",
    *,
    frames: int = 20,
    seconds: float = 2.0,
    noise: bool = False,
    options: dict[str, str] | None = None,
) -> Path:
    """Returns the path of a clip of both kinds: grey or noise frames, ten a second, and a tone."""
    video, audio = CODECS[extension]
    if extension == "mp4" and options is None:
        options = {"movflags": "faststart"}
    return write_clip(
        folder / f"clip.{extension}",
        videos=[noise_frames(frames) if noise else grey_frames(frames)],
        sounds=[tone(seconds, 48_000, channels=2)],
        video_codec=video,
        audio_codec=audio,
        options=options,
    )
