"""What a container's header claims, where the claim can be trusted, to tell a file cut short."""

import struct
from pathlib import Path

import av
from av.container import InputContainer

_SIGNATURES = (
    (4, b"ftyp", "an MP4 or QuickTime file"),
    (0, b"\x1aE\xdf\xa3", "a Matroska or WebM file"),
    (8, b"AVI ", "an AVI file"),
    (8, b"WAVE", "a WAV file"),
    (0, b"OggS", "an Ogg file"),
    (0, b"fLaC", "a FLAC file"),
    (0, b"ID3", "an MP3 file"),
    (0, b"FLV", "an FLV file"),
)
_STREAMED_WAV_BYTES = 0x7FFF_0000  # writers to a pipe put a size like this for "unknown"


def recognised_container(path: Path) -> str | None:
    """Return what a file's first bytes say it is, or None."""
    with path.open("rb") as stream:
        head = stream.read(16)
    return next((kind for at, mark, kind in _SIGNATURES if head[at:].startswith(mark)), None)


def declared_end_seconds(
    container: InputContainer, stream: av.VideoStream | av.AudioStream
) -> float | None:
    """Return when a stream should end, in its own time, or None where no header can be trusted.

    QuickTime's comes from its table of samples, FLAC's from its stream header, Matroska's from the
    tag its writer adds at the end, AVI's from its count of frames. Others estimate (MP3) or only
    know what is left of the file (Ogg, MPEG-TS).
    """
    name = container.format.name.split(",")[0]
    if name in ("mov", "flac") and stream.duration and stream.time_base:
        return float(((stream.start_time or 0) + stream.duration) * stream.time_base)
    if name == "matroska":
        return _clock_seconds(stream.metadata.get("DURATION", ""))
    if name == "avi" and isinstance(stream, av.VideoStream) and stream.average_rate:
        return float(stream.frames / stream.average_rate) or None
    return None


def _clock_seconds(text: str) -> float | None:
    """Return the seconds of `00:01:02.500`."""
    try:
        hours, minutes, seconds = (float(part) for part in text.split(":"))
    except ValueError:
        return None
    return hours * 3600 + minutes * 60 + seconds


def wav_is_cut(path: Path) -> bool:
    """Return whether a WAV file lacks more than a hundredth of the bytes its header declares."""
    with path.open("rb") as stream:
        head = stream.read(12)
    if head[:4] != b"RIFF" or head[8:] != b"WAVE":
        return False
    declared = struct.unpack("<I", head[4:8])[0] + 8
    size_bytes = path.stat().st_size
    return declared < _STREAMED_WAV_BYTES and declared - size_bytes > max(declared // 100, 1024)
