"""The frames of a long video at the sampled moments, decoded from the key frames before them.

Nothing is taken on trust: what a seek lands on and what a decoder gives there has to be what the
packets promised, or the whole video is decoded.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import av.error
import numpy as np
from av.container import InputContainer

from .packets import VideoPackets

_LEAST_SAVED = 500  # frames; a shorter clip is decoded whole, and damage anywhere in it is found
_SKIPPABLE = ("h264", "hevc")  # frames that no other refers to can be left out between the wanted


@dataclass(frozen=True)
class Run:
    """Packets that are decoded together.

    Attributes:
        first: The key frame's time, in ticks.
        wanted: The times of the frames to keep, rising.
        end: The time of the last packet to be decoded.
    """

    first: int
    wanted: tuple[int, ...]
    end: int


def key_runs(packets: VideoPackets, moments: np.ndarray) -> list[Run]:
    """Return what to decode for the frames on screen at the moments; [] where all has to be.

    All has to be decoded where packets lack a time of their own, where some are flagged as broken,
    and where little is saved.
    """
    shown, pts = packets.shown, packets.pts
    if not packets.sound or not shown.any() or len(set(pts[shown])) < shown.sum():
        return []
    times = np.sort(pts[shown])
    on_screen = np.searchsorted(packets.seconds(times), moments, side="right") - 1
    wanted = np.unique(times[np.maximum(on_screen, 0)])
    place = {int(ticks): at for at, ticks in enumerate(pts) if shown[at]}
    by_key: dict[int, list[int]] = {}
    for ticks in map(int, wanted):
        before = packets.key[: place[ticks] + 1] & (pts[: place[ticks] + 1] <= ticks)
        if not before.any():
            return []
        by_key.setdefault(int(np.flatnonzero(before)[-1]), []).append(ticks)
    last = {key: max(place[ticks] for ticks in group) for key, group in by_key.items()}
    decoded, whole = sum(last[key] - key + 1 for key in last), max(last.values()) + 1
    if decoded > whole // 2 or whole - decoded < _LEAST_SAVED:
        return []
    return [Run(int(pts[key]), tuple(group), int(pts[last[key]])) for key, group in by_key.items()]


def decode_runs(
    container: InputContainer,
    stream: av.VideoStream,
    runs: Sequence[Run],
    keep: Callable[[float, av.VideoFrame], object],
) -> bool:
    """Keep the wanted frames with their seconds, in order; return whether all were as promised."""
    try:
        return all(_decode_run(container, stream, run, keep) for run in runs)
    except (av.error.FFmpegError, ValueError):
        return False
    finally:
        stream.codec_context.skip_frame = "DEFAULT"


def _decode_run(
    container: InputContainer,
    stream: av.VideoStream,
    run: Run,
    keep: Callable[[float, av.VideoFrame], object],
) -> bool:
    container.seek(run.first, stream=stream, backward=True)
    left, begun = list(run.wanted), False
    for frame in _frames(container.demux(stream), stream, run):
        begun = begun or bool(frame.key_frame)
        if left and frame.pts == left[0]:
            if frame.is_corrupt or not begun:
                return False
            base = stream.time_base or Fraction(1)
            keep(left.pop(0) * base.numerator / base.denominator, frame)
    return not left


def _frames(packets: Iterator[Any], stream: av.VideoStream, run: Run) -> Iterator[av.VideoFrame]:
    """Yield what a decoder gives of a run, or of one that begins earlier."""
    context: Any = stream.codec_context
    skips = context.name in _SKIPPABLE
    for at, packet in enumerate(packets):
        if packet.pts is None or packet.is_corrupt or (at == 0 and packet.pts > run.first):
            return
        if skips:
            context.skip_frame = "DEFAULT" if packet.pts in run.wanted else "NONREF"
        yield from packet.decode()
        if packet.pts == run.end:
            break
    yield from context.decode(None)
