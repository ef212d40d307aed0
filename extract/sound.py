"""The sound half of a clip: any channels and rate → one mono waveform at one rate."""

import math

import av
import av.error
import numpy as np

from ..errors import MediumDamaged, MediumError, MediumTooLarge, MediumUnreadable, SpanOutside
from .media import Limits, Span, Waveform

_FULL_SCALE = {"u1": 2.0**7, "i2": 2.0**15, "i4": 2.0**31, "i8": 2.0**63}

# PyAV looks for a null pointer after the last plane; from the eighth on there is none, and it
# crashes. Eight planes are packed into one first, more are refused.
_MOST_CHANNELS = 8
_GAP_SECONDS = 0.5  # codecs that send nothing in silence pause for less


def mono(frame: av.AudioFrame) -> np.ndarray:
    """Return the mean of a frame's channels, `[S] float32`, full scale ±1."""
    channels = frame.layout.nb_channels
    if channels > _MOST_CHANNELS:
        raise MediumUnreadable(f"its sound has {channels} channels, over {_MOST_CHANNELS}")
    try:
        if frame.format.is_planar and channels == _MOST_CHANNELS:
            frame = _packed(frame)
        values = frame.to_ndarray()
    except (av.error.FFmpegError, ValueError) as error:
        raise MediumUnreadable(f"its sample format {frame.format.name} is not known") from error
    if not frame.format.is_planar:
        values = values.reshape(-1, channels).T
    scale = _FULL_SCALE.get(values.dtype.str[1:], 1.0)
    centre = 128.0 if values.dtype.kind == "u" else 0.0
    return ((values.astype(np.float32) - centre) / scale).mean(axis=0, dtype=np.float32)


def _packed(frame: av.AudioFrame) -> av.AudioFrame:
    """Return a frame with its channels in one plane."""
    rate_hz = frame.sample_rate
    [packed] = av.AudioResampler(format="flt", layout=frame.layout, rate=rate_hz).resample(frame)
    return packed


class SoundCollector:
    """Take decoded sound in time order and return it as one waveform.

    Channels are averaged first, then FFmpeg's resampler changes the rate; both work on pieces of
    about a second, so the source is not held. The span is in the stream's own time.
    """

    def __init__(self, *, rate_hz: int, span_seconds: Span | None, limits: Limits) -> None:
        self.done = False
        self.taken = 0
        self.seconds = span_seconds[0] if span_seconds else 0.0  # end of what has been seen
        self._rate_hz = rate_hz
        self._start, self._end = span_seconds or (-math.inf, math.inf)
        self._limits = limits
        self._source_hz = 0
        self._resampler: av.AudioResampler | None = None
        self._waiting: list[np.ndarray] = []
        self._waiting_samples = 0
        self._made: list[np.ndarray] = []
        self._made_seconds = 0.0

    def take(self, frame: av.AudioFrame) -> None:
        """Add the next frame, or the part of it that lies in the span."""
        if frame.sample_rate <= 0:
            raise MediumDamaged(f"its sound claims {frame.sample_rate} Hz")
        if frame.sample_rate != self._source_hz:
            self._restart(frame.sample_rate)
        begin = self.seconds if frame.time is None else frame.time
        self._check_gap(begin)
        samples = mono(frame)
        self.seconds = begin + len(samples) / self._source_hz
        self.taken += 1
        self.done = self.seconds >= self._end
        if self.seconds <= self._start or begin >= self._end:
            return
        first = self._offset(self._start - begin, len(samples))
        self._push(samples[first : self._offset(self._end - begin, len(samples))])

    def finish(self) -> Waveform:
        """Return all the sound taken."""
        self._restart(0)
        if not self._made:
            raise self._nothing()
        samples = np.concatenate(self._made)[: round(self._made_seconds * self._rate_hz)]
        if not np.isfinite(samples).all():
            raise MediumDamaged("its audio stream holds NaN or infinite samples")
        return Waveform(samples, self._rate_hz)

    def _check_gap(self, begin: float) -> None:
        """Look for a stretch that the container has lost; demuxers skip it without a word."""
        lost = begin - self.seconds
        if self.taken and lost > _GAP_SECONDS and begin > self._start:
            raise MediumDamaged(f"{lost:.2f} s of its sound are missing at {self.seconds:.2f} s")

    def _nothing(self) -> MediumError:
        if self.taken and self._start > 0:
            return SpanOutside(f"its sound ends at {self.seconds:.2f} s, before the span")
        return MediumDamaged("its audio stream holds no sound that can be decoded")

    def _offset(self, seconds: float, samples: int) -> int:
        return round(min(max(seconds * self._source_hz, 0.0), float(samples)))

    def _push(self, samples: np.ndarray) -> None:
        self._waiting.append(samples)
        self._waiting_samples += len(samples)
        self._made_seconds += len(samples) / self._source_hz
        if self._made_seconds > self._limits.max_seconds:
            limit = {"max_seconds": self._limits.max_seconds}
            raise MediumTooLarge(
                f"its sound is over the limit of {self._limits.max_seconds:g} s", limit=limit
            )
        if self._waiting_samples >= self._source_hz:
            self._flush()

    def _restart(self, source_hz: int) -> None:
        """Empty the resampler; the sound that follows has another rate."""
        self._flush()
        if self._resampler is not None:
            self._resample(self._resampler, None)
        self._source_hz = source_hz
        same = source_hz in (0, self._rate_hz)
        self._resampler = (
            None if same else av.AudioResampler(format="flt", layout="mono", rate=self._rate_hz)
        )

    def _flush(self) -> None:
        """Hand what is waiting to the resampler."""
        if not self._waiting:
            return
        samples = np.concatenate(self._waiting)
        self._waiting, self._waiting_samples = [], 0
        if self._resampler is None:
            self._made.append(samples)
            return
        frame = av.AudioFrame.from_ndarray(samples[None], format="flt", layout="mono")
        frame.sample_rate = self._source_hz
        self._resample(self._resampler, frame)

    def _resample(self, resampler: av.AudioResampler, frame: av.AudioFrame | None) -> None:
        try:
            made = resampler.resample(frame)
        except (av.error.FFmpegError, ValueError) as error:
            raise MediumDamaged(f"sound of {self._source_hz} Hz cannot be resampled") from error
        self._made.extend(piece.to_ndarray()[0] for piece in made)
