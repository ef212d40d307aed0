"""Encoders without a model: means of what they see or hear, exact and immediate."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from promptfuse.cache.manifest import FieldSpec
from promptfuse.errors import MediumEmpty
from promptfuse.extract.encoders.base import Decoding, Row
from promptfuse.extract.media import Frames, FrameSampling, Image, Waveform

RATE_HZ = 8000
STEP_SAMPLES = 800


class PlainEncoder:
    """Mean colours of an image or of each frame, or the loudness of each tenth of a second.

    Attributes:
        batches: the sizes of the lists that it was given to encode.
        loads: how often its model was asked for.
    """

    def __init__(
        self,
        modality: str,
        *,
        frames: int = 3,
        nan_above: float = np.inf,
        name: str = "plain",
    ) -> None:
        self._name = name
        self.modality: str = modality
        self.provenance: Mapping[str, Any] = {}
        self.batches: list[int] = []
        self.loads = 0
        self._frames = frames
        self._nan_above = nan_above

    @property
    def identity(self) -> Mapping[str, Any]:
        frames = {"frames": self._frames} if self.modality == "video" else {}
        return {"family": "plain", "id": self._name, **frames}

    @property
    def fields(self) -> tuple[FieldSpec, ...]:
        shape = () if self.modality == "audio" else (3,)
        return (FieldSpec("mean", "float32", shape, ragged=self.modality != "image"),)

    @property
    def decoding(self) -> Decoding:
        if self.modality == "audio":
            return Decoding(audio_rate_hz=RATE_HZ)
        if self.modality == "image":
            return Decoding()
        sampling = FrameSampling("uniform", count=self._frames)
        return Decoding(video=sampling, transform_frame=_mean_colour)

    @property
    def blank_steps(self) -> int:
        return {"image": 1, "video": self._frames, "audio": 50}[self.modality]

    @property
    def parallel(self) -> int:
        return 1

    def load(self) -> None:
        self.loads += 1

    def prepare(self, medium: Image | Frames | Waveform) -> np.ndarray:
        if isinstance(medium, Image):
            return _mean_colour(medium.pixels)
        if isinstance(medium, Frames):
            return medium.pixels
        if len(medium.samples) < STEP_SAMPLES:
            raise MediumEmpty("less than a step")
        steps = len(medium.samples) // STEP_SAMPLES
        samples = medium.samples[: steps * STEP_SAMPLES].reshape(steps, -1)
        return np.abs(samples).mean(1).astype(np.float32)

    def blank(self) -> np.ndarray:
        (spec,) = self.fields
        return np.zeros(((self.blank_steps,) if spec.ragged else ()) + spec.shape, np.float32)

    def units(self, prepared: np.ndarray) -> int:
        return len(prepared) if self.modality == "video" else 1

    def encode(self, items: Sequence[np.ndarray], *, batch_size: int) -> list[Row]:
        self.batches.append(len(items))
        return [{"mean": np.where(item > self._nan_above, np.nan, item)} for item in items]


def _mean_colour(pixels: np.ndarray) -> np.ndarray:
    return pixels.reshape(-1, 3).mean(0).astype(np.float32)
