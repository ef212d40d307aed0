"""A medium's file → what encoders take: decoded once for all of them, or the reason why not."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..cache.checked import file_state
from ..cache.modalities import MODALITIES
from ..errors import (
    MediumChanged,
    MediumError,
    MediumUnexpected,
    NoAudioStream,
    NoVideoStream,
    PromptFuseError,
)
from .clips import decode_clip
from .datasets.ingest import MediumRef
from .encoders.base import Decoding, Encoder
from .images import decode_image
from .media import Clip, Frames, Limits, Waveform
from .room import Reserve, Room

Prepared = dict[str, np.ndarray | MediumError]
"""A medium by modality, prepared for that modality's encoder, or why it cannot be."""

_ROOM = Room(512 * 2**20)  # of the whole process, as its memory is

#: What decodes the file of a modality that is not a stream of a clip.
_FILES = {
    name: decode_image
    for name, modality in MODALITIES.items()
    if modality.pictures and not modality.framed
}

#: Where a clip has a modality, and the error of a clip that lacks it.
_STREAMS: dict[
    str, tuple[Callable[[Clip], Frames | Waveform | MediumError | None], type[MediumError]]
] = {
    "video": (lambda clip: clip.frames, NoVideoStream),
    "audio": (lambda clip: clip.waveform, NoAudioStream),
}


def prepare_medium(ref: MediumRef, wanted: Mapping[str, Encoder], limits: Limits) -> Prepared:
    """Return a medium decoded and prepared for each encoder, by modality, or why it cannot be.

    What is no longer the file that was hashed would be kept under another's key: it is refused.
    """
    with _ROOM.hold() as reserve:
        prepared = _prepare(ref, wanted, limits, reserve)
    if ref.state is not None and (change := _change(ref.path, ref.state)):
        return dict.fromkeys(wanted, MediumChanged(f"{ref.path}: {change}; run the command again"))
    return prepared


def _change(path: Path, hashed: tuple[int, int, int]) -> str | None:
    try:
        now = file_state(path)
    except OSError as error:
        return f"cannot be found any more since it was hashed ({error.strerror})"
    if now == hashed:
        return None
    return f"replaced or written to since it was hashed: {hashed[0]:,} bytes then, {now[0]:,} now"


def decoding_of(ref: MediumRef, encoders: Mapping[str, Encoder]) -> dict[str, Any]:
    """Return how a medium is decoded for these encoders, as JSON values."""
    streams = _streams(encoders)
    wanted = _together(streams)
    return {
        "path": str(ref.path),
        "pictures": [one.decoding.least for name, one in encoders.items() if name not in streams],
        "clip": bool(streams),
        "sampling": wanted.video and asdict(wanted.video),
        "audio_rate_hz": wanted.audio_rate_hz,
        "span_seconds": ref.span_seconds,
    }


def _prepare(
    ref: MediumRef, wanted: Mapping[str, Encoder], limits: Limits, reserve: Reserve
) -> Prepared:
    def picture(modality: str) -> np.ndarray:
        encoder, decode = wanted[modality], _FILES[modality]
        least = encoder.decoding.least
        return encoder.prepare(decode(ref.path, limits=limits, reserve=reserve, least=least))

    prepared = {name: _attempt(partial(picture, name)) for name in wanted if name in _FILES}
    streams = _streams(wanted)
    return {**prepared, **_prepare_clip(ref, streams, limits, reserve)} if streams else prepared


def _streams(encoders: Mapping[str, Encoder]) -> dict[str, Encoder]:
    return {modality: encoder for modality, encoder in encoders.items() if modality in _STREAMS}


def _together(encoders: Mapping[str, Encoder]) -> Decoding:
    """Return what one pass over a clip has to give for all these encoders."""
    wanted = Decoding()
    for encoder in encoders.values():
        given = {name: v for name, v in vars(encoder.decoding).items() if v is not None}
        wanted = replace(wanted, **given)
    return wanted


def _prepare_clip(
    ref: MediumRef, encoders: Mapping[str, Encoder], limits: Limits, reserve: Reserve
) -> Prepared:
    wanted = _together(encoders)
    try:
        clip = decode_clip(
            ref.path,
            video=wanted.video,
            transform_frame=wanted.transform_frame,
            audio_rate_hz=wanted.audio_rate_hz,
            span_seconds=ref.span_seconds,
            limits=limits,
            reserve=reserve,
        )
    except Exception as error:  # noqa: BLE001
        return dict.fromkeys(encoders, as_medium_error(error))
    return {
        modality: _attempt(lambda m=modality, e=encoder: e.prepare(_stream(clip, m)))
        for modality, encoder in encoders.items()
    }


def _stream(clip: Clip, modality: str) -> Frames | Waveform:
    stream_of, lacking = _STREAMS[modality]
    stream = stream_of(clip)
    if stream is None:
        raise lacking(f"no {modality}")
    if isinstance(stream, MediumError):
        raise stream
    return stream


def _attempt(prepare: Callable[[], np.ndarray]) -> np.ndarray | MediumError:
    try:
        return prepare()
    except Exception as error:  # noqa: BLE001
        return as_medium_error(error)


def as_medium_error(error: Exception) -> MediumError:
    """Return what is wrong with one medium; whatever it raised, the others go on.

    An error that is no medium's, such as an encoder that cannot be built, is raised again.
    """
    if isinstance(error, MediumError):
        return error.with_traceback(None)  # which would keep the decoded pixels in memory
    if isinstance(error, PromptFuseError):
        raise error
    return MediumUnexpected(f"{type(error).__name__}: {error}")
