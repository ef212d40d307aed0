"""One stream's way through its decoder, and the rule of what counts as damage."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Generic, Protocol, TypeVar

import av
import av.error

from ..errors import MediumDamaged, MediumError

_TAIL_SECONDS = 0.25  # a decoder's complaint this close to the end is padding, not damage
_CUT_SECONDS, _CUT_FRACTION = 0.5, 0.05  # content may end this long before its declared end

FrameT = TypeVar("FrameT", contravariant=True)
ValueT = TypeVar("ValueT", covariant=True)


class Taker(Protocol[FrameT, ValueT]):
    """What takes a stream's frames in time order and makes a value of them."""

    @property
    def done(self) -> bool:
        """Whether later frames cannot change the value."""
        ...

    @property
    def taken(self) -> int:
        """How many frames it has been given."""
        ...

    def take(self, frame: FrameT) -> None:
        """Take the next frame."""
        ...

    def finish(self) -> ValueT:
        """Return the value."""
        ...


@dataclass(frozen=True)
class Bounds:
    """Where a stream's wanted part lies, in the stream's own time.

    Attributes:
        zero_seconds: The container's start, taken off the times in messages.
        end_seconds: Where the wanted part ends.
        declared_end_seconds: Where the stream should end by its header, if that can be trusted.
        trust_corrupt_flag: Whether the demuxer's own flag means damage.
    """

    zero_seconds: float
    end_seconds: float
    declared_end_seconds: float | None
    trust_corrupt_flag: bool


def cut_short(kind: str, end_seconds: float, bounds: Bounds) -> MediumDamaged | None:
    """Return the error of a stream whose packets end well before its header says, or None."""
    if bounds.declared_end_seconds is None:
        return None
    due = min(bounds.declared_end_seconds, bounds.end_seconds) - bounds.zero_seconds
    end = end_seconds - bounds.zero_seconds
    if due - end <= max(_CUT_SECONDS, _CUT_FRACTION * due):
        return None
    return MediumDamaged(f"its {kind} is cut short: it ends at {end:.2f} s of {due:.2f} s")


def error_words(error: BaseException) -> str:
    """Return what FFmpeg or Python says went wrong, without the number and the call."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


class StreamDecoder(Generic[FrameT, ValueT]):
    """Decode one stream's packets for a taker, until it is done or the stream is damaged.

    What fails before the first good frame is passed over: a clip cut without re-encoding starts
    between key frames. What fails later is damage, also where the decoder would conceal it. A
    `shortcut` may give the taker all that it wants without the packets in between.
    """

    def __init__(
        self,
        stream: av.VideoStream | av.AudioStream,
        taker: Taker[FrameT, ValueT],
        bounds: Bounds,
        *,
        shortcut: Callable[[], object] | None = None,
    ) -> None:
        self.stream = stream
        self._shortcut = shortcut
        self.error: MediumError | None = None
        self._taker = taker
        self._bounds = bounds
        self._seen_seconds = bounds.zero_seconds  # the end of the last packet
        stream.codec_context.thread_count = 1  # clips run side by side instead

    @property
    def closed(self) -> bool:
        """Whether this lane needs no more packets."""
        return self.error is not None or self._taker.done

    def cut_across(self) -> bool:
        """Return whether no packet is needed, all that is wanted being had by the shortcut."""
        if self._shortcut is not None:
            self._give(self._shortcut)
        return self.closed

    def decode(self, packet: av.Packet) -> None:
        """Decode the stream's next packet."""
        seconds = self._advance(packet)
        try:
            frames = packet.decode()
        except (av.error.FFmpegError, ValueError) as error:
            if not self._is_tail(seconds):
                self._damage(seconds, error_words(error))
            return
        if packet.is_corrupt and self._bounds.trust_corrupt_flag:
            self._damage(seconds, "the container is broken here")
        for frame in frames:
            self._take(frame, seconds)

    def fail(self, error: MediumError) -> None:
        """End the lane unless it has all it wants."""
        if not self.closed:
            self.error = error

    def finish(self) -> ValueT | MediumError:
        """Return the taker's value, or why there is none."""
        if not self.closed and self._taker.taken:
            self.error = cut_short(self.stream.type, self._seen_seconds, self._bounds)
        if self.error is not None:
            return self.error
        try:
            return self._taker.finish()
        except MediumError as error:
            return error

    def _take(self, frame, seconds: float) -> None:
        if self.closed:
            return
        if frame.is_corrupt:
            self._damage(seconds, "the decoder had to guess a frame")
            return
        self._give(partial(self._taker.take, frame))

    def _give(self, give: Callable[[], object]) -> None:
        try:
            give()
        except MediumError as error:
            self.error = error

    def _advance(self, packet: av.Packet) -> float:
        """Return when a packet starts, having noted when it ends."""
        ticks = packet.pts if packet.pts is not None else packet.dts
        if ticks is None or packet.time_base is None:
            return self._seen_seconds
        end = (ticks + (packet.duration or 0)) * packet.time_base
        self._seen_seconds = max(self._seen_seconds, float(end))
        return float(ticks * packet.time_base)

    def _is_tail(self, seconds: float) -> bool:
        end = self._bounds.declared_end_seconds
        return end is not None and seconds >= end - _TAIL_SECONDS

    def _damage(self, seconds: float, problem: str) -> None:
        if self._taker.taken and self.error is None:
            at = seconds - self._bounds.zero_seconds
            self.error = MediumDamaged(
                f"its {self.stream.type} is damaged at {at:.2f} s: {problem}"
            )
