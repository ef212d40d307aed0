"""The moving-picture half of a clip: which frames are on screen at the sampled moments."""

from collections.abc import Callable
from fractions import Fraction

import av
import av.error
import numpy as np
from av.video.reformatter import VideoReformatter

from ..errors import MediumDamaged, MediumUnreadable
from .media import Frames, Limits, check_pixels


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
        if self._on_screen is not None and self._moments and self._moments[0] < seconds:
            self._keep(*self._on_screen)
            while self._moments and self._moments[0] < seconds:
                self._moments.pop(0)
        self._on_screen = (seconds, frame)
        self.done = not self._moments

    def take_chosen(self, decode: Callable[[Callable[[float, av.VideoFrame], None]], bool]) -> None:
        """Keep all that `decode` gives, which are the frames on screen, if it says that it can."""
        if decode(self._keep):
            self._moments, self.done = [], True
        else:
            self._kept, self._size = [], None

    def finish(self) -> Frames:
        """Return the kept frames; moments that are left fall on the last frame."""
        if self._moments and self._on_screen is not None:
            self._keep(*self._on_screen)
        if not self._kept:
            raise MediumDamaged("its video stream holds no frame that can be decoded")
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
