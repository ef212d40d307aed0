"""A file of moving pictures, sound or both, open, and the part of it that is wanted."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import av
import av.error
import av.logging
import numpy as np
from av.container import InputContainer

from ..errors import MediumDamaged, MediumError, MediumUnreadable
from .declared import recognised_container
from .media import Limits, Span

av.logging.set_level(None)  # decoders complain on stderr; their errors are raised instead

# Containers that hold their media themselves. Playlists and scripts (HLS, DASH, concat), which
# name other files or addresses, and single pictures are left out.
_CONTAINERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,m4v,h264,hevc,flv,asf,ogg,"
    "nut,ivf,rm,gif,mxf,wav,w64,aiff,au,caf,flac,mp3,aac,ac3,eac3,amr"
)
SEEKABLE = ("mov", "matroska", "avi", "wav")  # their seeks land where their timestamps say
_PREROLL_SECONDS = 1.0  # decoded before a span and thrown away: codecs need a run-up


@contextmanager
def open_container(path: Path) -> Iterator[InputContainer]:
    """Yield a file open, with streams; it cannot name others.

    Raises:
        MediumError: If it is of no known format, or its header is broken.
    """
    options = {"protocol_whitelist": "file", "format_whitelist": _CONTAINERS}
    try:
        container = av.open(f"file:{path}", options=options, metadata_errors="replace")
    except (av.error.FFmpegError, ValueError) as error:
        raise _not_a_clip(path) from error
    with container:
        if not container.streams:
            raise _not_a_clip(path)
        yield container


def _not_a_clip(path: Path) -> MediumError:
    if kind := recognised_container(path):
        return MediumDamaged(f"{path}: begins as {kind}, but its header is broken")
    return MediumUnreadable(f"{path}: not a video or sound file of a known format")


@dataclass(frozen=True)
class Source:
    """An open container and the part of it that is wanted; times are its streams' own."""

    path: Path
    container: InputContainer
    span_seconds: Span | None
    limits: Limits

    @property
    def format(self) -> str:
        """The container's kind, in FFmpeg's word."""
        return self.container.format.name.split(",")[0]

    @property
    def zero_seconds(self) -> float:
        """When it begins."""
        return (self.container.start_time or 0) / av.time_base

    @property
    def wanted(self) -> Span:
        """The part that is wanted, all there is included."""
        if self.span_seconds is None:
            return (-np.inf, np.inf)
        start, end = self.span_seconds
        return (start + self.zero_seconds, end + self.zero_seconds)

    def rewind(self) -> None:
        """Go to a little before the wanted part, or to the start."""
        start = max(self.wanted[0] - _PREROLL_SECONDS, self.zero_seconds)
        self.container.seek(int(start * av.time_base), backward=True)
