"""The moving-picture half of a clip: which frames are on screen at the sampled moments."""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import av
import av.error
import numpy as np
from av.container import InputContainer
from av.video.reformatter import VideoReformatter

from ..errors import MediumDamaged, MediumUnreadable
from .media import Frames, Limits, check_pixels

_DEFAULT_RATE = Fraction(25)


@dataclass(frozen=True)
class VideoExtent:
    """What the packets of a video stream say, whatever the metadata claims: `[start, end)`."""

    start_seconds: float
    end_seconds: float
    packets: int


def frame_rate(stream: av.VideoStream) -> Fraction:
    """Return the stream's average frames a second, or 25 where it has none."""
    return stream.average_rate or stream.guessed_rate or _DEFAULT_RATE


def scan_video(
    container: InputContainer, stream: av.VideoStream, *, end_seconds: float
) -> VideoExtent:
    """Return when a stream's pictures begin and end, from its packets, without decoding.

    The container is at the place to scan from; the scan stops at `end_seconds`, in the stream's
    own time.
    """
    step = 1 / frame_rate(stream)
    first, last, packets = np.inf, -np.inf, 0
    for packet in container.demux(stream):
        if packet.size == 0 or packet.is_discard:
            continue
        ticks = packet.pts if packet.pts is not None else packet.dts
        seconds = float(ticks * packet.time_base if ticks is not None else packets * step)
        if packet.dts is not None and packet.dts * packet.time_base >= end_seconds:
            break
        length = float((packet.duration or 0) * packet.time_base) or float(step)
        packets += 1
        first, last = min(first, seconds), max(last, seconds + length)
    return VideoExtent(first, last, packets) if packets else VideoExtent(0.0, 0.0, 0)


class FramePicker:
    """Take decoded frames in time order and keep those on screen at the given moments.

    Args:
        moments: `[n]` seconds, rising, in the stream's own time.
        zero_seconds: The container's start, taken off the timestamps that are given out.
        rate: Frames a second where frames carry no time.
        transform: Applied to each kept `[H, W, 3] uint8` frame at once.
        limits: Those on pixels apply.
    """

    def __init__(
        self,
        moments: np.ndarray,
        *,
        zero_seconds: float,
        rate: Fraction,
        transform: Callable[[np.ndarray], np.ndarray] | None,
        limits: Limits,
    ) -> None:
        self.done = False
        self.taken = 0
        self.seconds = zero_seconds  # time of the last frame seen
        self._moments = list(moments)
        self._zero_seconds = zero_seconds
        self._rate = rate
        self._transform = transform
        self._limits = limits
        self._reformatter = VideoReformatter()  # one for all frames: a new one costs 0.3 ms
        self._on_screen: tuple[float, av.VideoFrame] | None = None
        self._size: tuple[int, int] | None = None
        self._kept: list[tuple[float, np.ndarray]] = []

    def take(self, frame: av.VideoFrame) -> None:
        """Look at the next frame: the last is kept if a moment fell on it."""
        seconds = self.taken / float(self._rate) if frame.time is None else frame.time
        self.taken += 1
        self.seconds = seconds
        if self._on_screen is not None and self._moments and self._moments[0] < seconds:
            self._keep(*self._on_screen)
            while self._moments and self._moments[0] < seconds:
                self._moments.pop(0)
        self._on_screen = (seconds, frame)
        self.done = not self._moments

    def finish(self) -> Frames:
        """Return the kept frames; moments that are left fall on the last frame."""
        if self._on_screen is None:
            raise MediumDamaged("its video stream holds no frame that can be decoded")
        if self._moments:
            self._keep(*self._on_screen)
        self._on_screen = None
        return Frames(
            np.stack([pixels for _, pixels in self._kept]),
            np.array([seconds for seconds, _ in self._kept]),
        )

    def _keep(self, seconds: float, frame: av.VideoFrame) -> None:
        pixels = self._rgb(frame)
        if self._transform is not None:
            pixels = self._transform(pixels)
        self._kept.append((seconds - self._zero_seconds, pixels))

    def _rgb(self, frame: av.VideoFrame) -> np.ndarray:
        check_pixels(frame.width, frame.height, self._limits)
        self._size = self._size or (frame.width, frame.height)
        width, height = self._size  # a stream that changes its size keeps that of its first frame
        try:
            pixels = self._reformatter.reformat(
                frame, format="rgb24", width=width, height=height, threads=1
            ).to_ndarray()
        except (av.error.FFmpegError, ValueError) as error:
            raise MediumUnreadable(f"its pixel format {frame.format.name} is not known") from error
        return np.ascontiguousarray(np.rot90(pixels, round(frame.rotation / 90) % 4))
