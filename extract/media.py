"""Decoded media as value objects with their units, and the limits on what is decoded.

`extract.images` and `extract.clips` make these values from files.
"""

import math
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from ..errors import (
    ConfigError,
    MediumEmpty,
    MediumError,
    MediumMissing,
    MediumTooLarge,
    MediumUnreadable,
)

MOST_FRAMES = 4096
"""Of one clip, which is held in memory at once: 2.5 GB of 224 × 224 pixels, float32."""

_SCALED_SIDE = 256  # what encoders scale the short side of a picture to, or more

Size = tuple[int, int]
"""Height and width, in pixels."""

Span = tuple[float, float]
"""Half-open range `[start, end)` in seconds, counted from the start of the container."""


@dataclass(frozen=True, eq=False)
class Image:
    """A still picture: `pixels` is `[H, W, 3] uint8`, RGB, upright."""

    pixels: np.ndarray

    def __post_init__(self) -> None:
        if self.pixels.dtype != np.uint8 or self.pixels.ndim != 3 or self.pixels.shape[2] != 3:
            given = f"{self.pixels.dtype} {list(self.pixels.shape)}"
            raise ValueError(f"an image's pixels are uint8 [H, W, 3], not {given}")


@dataclass(frozen=True, eq=False)
class Frames:
    """Frames chosen from a video, in time order.

    `pixels` is `[F, H, W, 3] uint8` RGB as decoded, or what `transform_frame` made of each frame,
    stacked; `timestamps_seconds` is `[F] float64`, counted from the start of the container.
    """

    pixels: np.ndarray
    timestamps_seconds: np.ndarray

    def __post_init__(self) -> None:
        if len(self.pixels) != len(self.timestamps_seconds):
            raise ValueError(
                f"{len(self.pixels)} frames with {len(self.timestamps_seconds)} timestamps"
            )
        if len(self.pixels) == 0:
            raise ValueError("a video has at least one frame")


@dataclass(frozen=True, eq=False)
class Waveform:
    """Mono sound: `samples` is `[S] float32`, full scale ±1, at `sample_rate_hz`."""

    samples: np.ndarray
    sample_rate_hz: int

    def __post_init__(self) -> None:
        if self.samples.dtype != np.float32 or self.samples.ndim != 1:
            given = f"{self.samples.dtype} {list(self.samples.shape)}"
            raise ValueError(f"a waveform's samples are float32 [S], not {given}")
        if self.sample_rate_hz <= 0:
            raise ValueError(f"sample_rate_hz must be positive, not {self.sample_rate_hz}")

    @property
    def seconds(self) -> float:
        """The duration in seconds."""
        return len(self.samples) / self.sample_rate_hz


@dataclass(frozen=True, eq=False)
class Clip:
    """What one pass over a container gave: each stream's value, its error, or None if not asked."""

    frames: Frames | MediumError | None
    waveform: Waveform | MediumError | None


@dataclass(frozen=True)
class Limits:
    """Sizes above which a medium is refused before it is decoded (`MediumTooLarge`).

    Args:
        max_bytes: Of a file.
        max_pixels: Of one image or one frame (width × height).
        max_seconds: Of a clip, or of its span where it has one.
    """

    max_bytes: int = 8 * 2**30
    max_pixels: int = 64_000_000
    max_seconds: float = 600.0

    def __post_init__(self) -> None:
        for name in ("max_bytes", "max_pixels", "max_seconds"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} must be positive, not {getattr(self, name)}")


@dataclass(frozen=True)
class FrameSampling:
    """Which frames of a video are kept: those on screen at the mid-points of equal spans.

    `uniform` cuts a clip into `count` spans. `fps` cuts it into duration × `fps` spans (rounded,
    one at least, `max_frames` at most, so that a long clip is thinned and not cut off). A frame
    that is on screen at two mid-points is kept once: repeats are not invented, so a clip gives
    at most as many rows as it has frames.
    """

    rule: Literal["uniform", "fps"] = "uniform"
    count: int | None = None
    fps: float | None = None
    max_frames: int = 256

    def __post_init__(self) -> None:
        if self.rule not in ("uniform", "fps"):
            raise ConfigError(f"the frame sampling rule is 'uniform' or 'fps', not {self.rule!r}")
        if not 1 <= self.max_frames <= MOST_FRAMES:
            raise ConfigError(f"max_frames must be 1 to {MOST_FRAMES:,}, not {self.max_frames}")
        takes = {"uniform": "a count and no fps", "fps": "an fps and no count"}
        wrong = self.count is not None if self.rule == "fps" else self.fps is not None
        if wrong or self.count is self.fps is None:
            raise ConfigError(
                f"{self.rule} sampling takes {takes[self.rule]}: count={self.count}, fps={self.fps}"
            )
        if self.count is not None and not 1 <= self.count <= self.max_frames:
            raise ConfigError(f"count must be 1 to max_frames={self.max_frames}, not {self.count}")
        if self.fps is not None and not 0 < self.fps < math.inf:
            raise ConfigError(f"fps must be positive and finite, not {self.fps}")

    def moments(self, start_seconds: float, end_seconds: float) -> np.ndarray:
        """Return the mid-points, `[n] float64` seconds, of the spans of `[start, end)`."""
        seconds = max(end_seconds - start_seconds, 0.0)
        if self.count is not None:
            spans = self.count
        else:
            spans = min(max(round(seconds * (self.fps or 0.0)), 1), self.max_frames)
        return start_seconds + (np.arange(spans) + 0.5) * (seconds / spans)


def check_pixels(width: int, height: int, limits: Limits) -> None:
    """Raise `MediumTooLarge` where a picture is too large, or so long and thin as to become so.

    Preprocessing scales the short side up to what an encoder takes, and the long one with it or
    before it: what is made of 1 x 80,000,000 pixels on the way has 200 times as many.
    """
    if width * height > limits.max_pixels:
        raise MediumTooLarge(
            f"{width} x {height} pixels, over the limit of {limits.max_pixels:,}",
            limit={"max_pixels": limits.max_pixels},
        )
    most = max(limits.max_pixels, Limits.max_pixels)  # a low limit makes no picture thin
    if max(width, height) * _SCALED_SIDE > most:
        raise MediumTooLarge(
            f"{width} x {height} pixels: so long and thin that with its short side scaled to "
            f"{_SCALED_SIDE}, as encoders do, it is over the limit of {most:,}",
            limit={"max_pixels": most},
        )


def check_file(path: Path, *, limits: Limits) -> None:
    """Raise the `MediumError` of what is not a regular, readable file within the limits."""
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise MediumMissing(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        raise MediumUnreadable(f"{path}: {error}") from error
    if not stat.S_ISREG(status.st_mode):
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "not a regular file"
        raise MediumUnreadable(f"{path}: {kind}, expected a media file")
    if not os.access(path, os.R_OK):
        raise MediumUnreadable(f"{path}: no permission to read it")
    if status.st_size == 0:
        raise MediumEmpty(f"{path}: the file has zero bytes")
    if status.st_size > limits.max_bytes:
        raise MediumTooLarge(
            f"{path}: {status.st_size:,} bytes, over the limit of {limits.max_bytes:,}",
            limit={"max_bytes": limits.max_bytes},
        )


def check_span(span_seconds: Span) -> None:
    """Raise a `ValueError` unless a span is finite, starts at 0 or later and ends after it."""
    start, end = span_seconds
    if not (math.isfinite(start) and math.isfinite(end) and 0 <= start < end):
        raise ValueError(f"a span is 0 <= start < end in seconds, not [{start}, {end})")
