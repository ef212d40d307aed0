"""What the packets of a video stream say of its frames, without decoding any."""

from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
from av.container import InputContainer

_DEFAULT_RATE = Fraction(25)


@dataclass(frozen=True, eq=False)
class VideoPackets:
    """A stream's packets in the order of decoding, whatever its metadata claims.

    Attributes:
        pts: `[n] int64`, when each is shown, in ticks.
        lengths: `[n] float64` seconds.
        key: `[n] bool`, whether decoding can begin with it.
        shown: `[n] bool`, false where the container has it decoded and not shown.
        sound: Whether all have times of their own, and none is flagged as broken.
        time_base: Seconds a tick.
    """

    pts: np.ndarray
    lengths: np.ndarray
    key: np.ndarray
    shown: np.ndarray
    sound: bool
    time_base: Fraction

    def seconds(self, ticks: np.ndarray) -> np.ndarray:
        """Return times in seconds, each rounded once, as those of frames are."""
        return ticks * self.time_base.numerator / self.time_base.denominator

    @property
    def start_seconds(self) -> float:
        """When the first picture is shown."""
        return float(self.seconds(self.pts[self.shown]).min(initial=np.inf))

    @property
    def end_seconds(self) -> float:
        """When the last picture ends."""
        ends = self.seconds(self.pts) + self.lengths
        return float(ends[self.shown].max(initial=-np.inf))


def frame_rate(stream: av.VideoStream) -> Fraction:
    """Return the stream's average frames a second, or 25 where it has none."""
    return stream.average_rate or stream.guessed_rate or _DEFAULT_RATE


def read_packets(
    container: InputContainer, stream: av.VideoStream, *, end_seconds: float
) -> VideoPackets:
    """Return a stream's packets.

    The container is at the place to read from; reading stops at `end_seconds`, in the stream's
    own time.
    """
    step, base = 1 / frame_rate(stream), stream.time_base or Fraction(1, av.time_base)
    end = float(end_seconds / base)
    rows: list[tuple[int, int, bool, bool, bool]] = []
    for packet in container.demux(stream):
        if packet.size == 0:
            continue
        ticks, dts, shown, sound = packet.pts, packet.dts, not packet.is_discard, True
        if shown and dts is not None and dts >= end:
            break
        if ticks is None or packet.is_corrupt:
            sound = False
        if ticks is None:
            ticks = round(len(rows) * step / base) if dts is None else dts
        rows.append((ticks, packet.duration or 0, packet.is_keyframe, shown, sound))
    table = np.array(rows, np.int64).reshape(-1, 5).T
    lengths = table[1] * base.numerator / base.denominator
    return VideoPackets(
        pts=table[0],
        lengths=np.where(lengths > 0, lengths, float(step)),
        key=table[2].astype(bool),
        shown=table[3].astype(bool),
        sound=bool(table[4].all()),
        time_base=base,
    )
