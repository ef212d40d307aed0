"""A file with moving pictures, sound or both → `Clip`, through PyAV, in one decoding pass.

Only the chosen frames are converted and kept; the rest of a video is never in memory. Of a long
one only what leads to them is decoded, where that gives the same frames.
"""

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import av
import av.error
import numpy as np
from av.stream import Disposition

from ..errors import (
    MediumDamaged,
    MediumError,
    MediumTooLarge,
    MediumUnreadable,
    NoAudioStream,
    NoVideoStream,
    SpanOutside,
)
from .containers import SEEKABLE, Source, open_container
from .declared import declared_end_seconds, wav_is_cut
from .frames import FramePicker
from .lanes import Bounds, StreamDecoder, cut_short, error_words
from .media import (
    Clip,
    Frames,
    FrameSampling,
    Limits,
    Span,
    Waveform,
    check_file,
    check_pixels,
    check_span,
)
from .packets import VideoPackets, frame_rate, read_packets
from .room import Reserve
from .seeks import decode_runs, key_runs
from .sound import SoundCollector

_INDEXED = ("mov", "matroska")  # their packets say when each is shown, and which are key frames
_PIXEL_BYTES = 10  # of the frames that a decoder refers to, and of the one that is converted
_SAMPLE_BYTES = 20  # of sound in pieces, whole, checked and normalised

T = TypeVar("T")
StreamT = TypeVar("StreamT", av.VideoStream, av.AudioStream)


def decode_clip(
    path: Path,
    *,
    video: FrameSampling | None,
    audio_rate_hz: int | None,
    transform_frame: Callable[[np.ndarray], np.ndarray] | None = None,
    span_seconds: Span | None = None,
    limits: Limits | None = None,
    reserve: Reserve | None = None,
) -> Clip:
    """Return the frames and the sound of a file, each as a value or as its own typed error.

    Of two video (or sound) streams FFmpeg's choice is taken: the one marked as default, then that
    of the higher bit rate, then the first. Cover art is not video. The display rotation is
    applied. Sound is the mean of its channels. The duration comes from the packets, not from
    metadata. Damage is what a decoder or container reports after the first good frame, sound
    lost from the middle, and an end well before the one that a trustworthy header declares. Of a
    long video damage is only seen in what its chosen frames need.

    Args:
        path: The file.
        video: Which frames to keep; None leaves the video stream alone.
        audio_rate_hz: Sample rate of the waveform; None leaves the audio stream alone.
        transform_frame: Applied to each kept `[H, W, 3] uint8` frame as soon as it is decoded.
        span_seconds: The part `[start, end)` to decode, counted from the container's start.
        limits: On bytes, pixels a frame and seconds.
        reserve: Told how much memory this will take.

    Returns:
        A clip whose `frames` and `waveform` hold a value, or the error of that stream alone
        (`NoVideoStream`, `NoAudioStream`, `MediumDamaged`, `MediumTooLarge`, `MediumUnreadable`,
        `SpanOutside`), or None where that stream was not asked for.

    Raises:
        MediumError: If the file as a whole is missing, empty, too large, of no known format
            (`MediumUnreadable`), or recognised with a header that is broken (`MediumDamaged`).
    """
    limits = limits or Limits()
    check_file(path, limits=limits)
    if span_seconds is not None:
        check_span(span_seconds)
    with open_container(path) as container:
        source = Source(path, container, span_seconds, limits)
        pictures = video and _attempt(lambda: _picture_lane(source, video, transform_frame))
        sound = audio_rate_hz and _attempt(lambda: _sound_lane(source, audio_rate_hz))
        lanes = [lane for lane in (pictures, sound) if isinstance(lane, StreamDecoder)]
        if reserve is not None:
            reserve(_needed_bytes(source, lanes, audio_rate_hz or 0))
        _decode(source, lanes)
        return Clip(_result(path, pictures or None), _result(path, sound or None))


PictureDecoder = StreamDecoder[av.VideoFrame, Frames]
SoundDecoder = StreamDecoder[av.AudioFrame, Waveform]
Lanes = list[PictureDecoder | SoundDecoder]


def _attempt(make: Callable[[], T]) -> T | MediumError:
    try:
        return make()
    except MediumError as error:
        return error


def _picture_lane(
    source: Source,
    sampling: FrameSampling,
    transform: Callable[[np.ndarray], np.ndarray] | None,
) -> PictureDecoder:
    stream = _best(source, "video", av.VideoStream, NoVideoStream)
    check_pixels(stream.codec_context.width, stream.codec_context.height, source.limits)
    packets = _packets(source, stream)
    moments = sampling.moments(*_video_part(source, stream, packets))
    picker = FramePicker(
        moments,
        zero_seconds=source.zero_seconds,
        rate=frame_rate(stream),
        transform=transform,
        limits=source.limits,
    )
    runs = key_runs(packets, moments) if source.format in _INDEXED else []

    def shortcut() -> None:
        picker.take_chosen(partial(decode_runs, source.container, stream, runs))

    return StreamDecoder(
        stream, picker, _bounds(source, stream), shortcut=shortcut if runs else None
    )


def _sound_lane(source: Source, rate_hz: int) -> SoundDecoder:
    stream = _best(source, "audio", av.AudioStream, NoAudioStream)
    if source.format == "wav" and wav_is_cut(source.path):
        raise MediumDamaged("cut short: its header declares more bytes than the file has")
    span = source.wanted if source.span_seconds is not None else None
    collector = SoundCollector(rate_hz=rate_hz, span_seconds=span, limits=source.limits)
    return StreamDecoder(stream, collector, _bounds(source, stream))


def _bounds(source: Source, stream: av.VideoStream | av.AudioStream) -> Bounds:
    return Bounds(
        zero_seconds=source.zero_seconds,
        end_seconds=source.wanted[1],
        declared_end_seconds=declared_end_seconds(source.container, stream),
        trust_corrupt_flag=source.format != "wav",  # a streamed WAV is flagged at its end
    )


def _needed_bytes(source: Source, lanes: Lanes, rate_hz: int) -> int:
    """Return about how many bytes decoding takes: a video decoder's frames, all of the sound."""
    needed = 0
    for stream in (lane.stream for lane in lanes):
        if isinstance(stream, av.VideoStream):
            needed += stream.codec_context.width * stream.codec_context.height * _PIXEL_BYTES
        else:
            duration = source.container.duration or math.inf
            start, end = source.span_seconds or (0.0, duration / av.time_base)
            seconds = min(end - start, source.limits.max_seconds)
            needed += int(seconds * rate_hz) * _SAMPLE_BYTES
    return needed


def _best(source: Source, kind: str, class_: type[StreamT], missing: type[MediumError]) -> StreamT:
    streams = [
        stream
        for stream in source.container.streams
        if isinstance(stream, class_) and not stream.disposition & Disposition.attached_pic
    ]
    if not streams:
        held = ", ".join(stream.type for stream in source.container.streams) or "nothing"
        raise missing(f"no {kind} stream; the file holds: {held}")
    chosen = source.container.streams.best(kind)  # pyright: ignore
    stream = next((s for s in streams if chosen and s.index == chosen.index), streams[0])
    if stream.codec_context is None:
        raise MediumUnreadable(f"no decoder for the codec of its {kind} stream")
    return stream


def _video_part(source: Source, stream: av.VideoStream, packets: VideoPackets) -> Span:
    """Return where the wanted part of a video begins and ends, in the stream's own time."""
    start = max(packets.start_seconds, source.wanted[0])
    end = min(packets.end_seconds, source.wanted[1])
    if not packets.shown.any():
        raise MediumDamaged("its video stream holds no packet")
    if cut := cut_short("video", packets.end_seconds, _bounds(source, stream)):
        raise cut
    if start >= end:
        at = packets.end_seconds - source.zero_seconds
        raise SpanOutside(f"its video ends at {at:.2f} s, before the span {source.span_seconds}")
    if end - start > source.limits.max_seconds:
        raise MediumTooLarge(
            f"{end - start:.1f} s of video, over the limit of {source.limits.max_seconds:g} s",
            limit={"max_seconds": source.limits.max_seconds},
        )
    return (start, end)


def _packets(source: Source, stream: av.VideoStream) -> VideoPackets:
    end = source.wanted[1]
    try:
        if source.format in SEEKABLE:
            source.rewind()
            return read_packets(source.container, stream, end_seconds=end)
        with open_container(source.path) as other:
            return read_packets(other, other.streams[stream.index], end_seconds=end)  # pyright: ignore
    except av.error.FFmpegError as error:
        raise MediumDamaged(f"its container breaks off: {error_words(error)}") from error


def _decode(source: Source, lanes: Lanes) -> None:
    """Take shortcuts; then demultiplex once and hand each packet to its lane."""
    lanes = [lane for lane in lanes if not lane.cut_across()]
    if not lanes:
        return
    by_index = {lane.stream.index: lane for lane in lanes}
    try:
        if source.format in SEEKABLE:
            source.rewind()
        for packet in source.container.demux([lane.stream for lane in lanes]):
            lane = by_index[packet.stream.index]
            if not lane.closed:
                lane.decode(packet)
            if all(lane.closed for lane in lanes):
                break
    except av.error.FFmpegError as error:
        for lane in lanes:
            lane.fail(MediumDamaged(f"its container breaks off: {error_words(error)}"))


def _result(path: Path, lane: StreamDecoder[Any, T] | MediumError | None) -> T | MediumError | None:
    value = lane.finish() if isinstance(lane, StreamDecoder) else lane
    return value.of(path) if isinstance(value, MediumError) else value
