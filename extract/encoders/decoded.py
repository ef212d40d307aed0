"""Decoded media as rows: what an encoder that runs live takes, so that media are decoded once.

`pixels:SPEC` gives images and frames as SPEC's own preprocessing resizes and crops them, before it
rescales and normalises; `samples:SPEC` gives sound at SPEC's rate. Only SPEC's configuration and
preprocessing are read.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ...cache.manifest import FieldSpec
from ...cache.modalities import MODALITIES
from ...errors import EncoderError
from ...pretrained import Pretrained
from ..media import Frames, Image, Waveform
from .audio import heard_samples, places, sampling_rate
from .base import BLANK_SECONDS, Decoding, EncoderOptions, Row
from .image import PixelPlan, TowerEncoder, TowerPlan

PIXELS, SAMPLES = "pixels", "samples"


# What happens to the pixels afterwards.
_AFTERWARDS = frozenset(
    {"do_rescale", "rescale_factor", "do_normalize", "image_mean", "image_std", "mean", "std"}
)
_PROBES = ((224, 224), (120, 160))

PixelTransform = Callable[[np.ndarray], np.ndarray]


class PixelTower:
    """An image tower that does nothing but resize and crop.

    Args:
        transform: `[H, W, 3] uint8` → `[C, H, W] uint8`.
    """

    parallel = 1

    def __init__(self, transform: PixelTransform) -> None:
        self._transform = transform

    def transform(self, pixels: np.ndarray) -> np.ndarray:
        """Return `[H, W, 3] uint8` as `[C, H, W] uint8`."""
        return self._transform(pixels)

    def forward(self, batch: np.ndarray, fields: tuple[str, ...]) -> dict[str, np.ndarray]:
        """Return the batch itself."""
        return dict.fromkeys(fields, batch)


def load_pixels(
    spec: str, pixels: PixelPlan, *, modality: str, options: EncoderOptions
) -> TowerEncoder:
    """Return the encoder that gives pixels as another encoder takes them.

    Args:
        spec: That encoder, for messages.
        pixels: What it says of its preprocessing.
        modality: Of pictures: its name.
        options: The user's choices.

    Raises:
        EncoderError: If that encoder takes images of different sizes.
    """
    name = f"{PIXELS}:{spec}"
    fields = options.choose(usual=(PIXELS,), valid=(PIXELS,), encoder=name)
    kept = {name: v for name, v in pixels.preprocessing.items() if name not in _AFTERWARDS}
    tower = PixelTower(pixels.make())
    plan = TowerPlan(
        name=name,
        identity={"family": PIXELS, "id": pixels.id, "class": pixels.kind, "preprocessing": kept},
        provenance={},
        fields=dict.fromkeys(fields, _shape(tower, name)),
        build=lambda: tower,
        shortest_side=pixels.shortest_side,
        dtype="uint8",
    )
    return TowerEncoder(plan, modality=modality, options=options)


def _shape(tower: PixelTower, name: str) -> tuple[int, ...]:
    """Return [C, H, W], the same for an image of any size."""
    found = [tower.transform(np.zeros((*size, 3), np.uint8)) for size in _PROBES]
    shapes = {pixels.shape for pixels in found}
    if len(shapes) > 1:
        raise EncoderError(
            f"encoder {name!r}: preprocessing gives images of different sizes, {sorted(shapes)}; "
            "set a fixed size or a centre crop in its preprocessor_config.json"
        )
    if found[0].dtype != np.uint8 or found[0].ndim != 3:
        raise EncoderError(
            f"encoder {name!r}: preprocessing gives {found[0].dtype} {list(found[0].shape)} before "
            "rescaling, where uint8 [C, H, W] was expected"
        )
    return found[0].shape


class SampleEncoder:
    """Waveforms → ragged rows `[S] int16` at an encoder's own rate.

    Args:
        checkpoint: The encoder for which they are.
        modality: The name of sound.
        options: The user's choices.

    Raises:
        UnknownName: If a field is wanted that is not the samples.
    """

    parallel = 1

    def __init__(self, checkpoint: Pretrained, *, modality: str, options: EncoderOptions) -> None:
        self.modality = modality
        self._full_scale = MODALITIES[modality].full_scale
        self.provenance: Mapping[str, Any] = {}
        self._checkpoint = checkpoint
        options.choose(usual=(SAMPLES,), valid=(SAMPLES,), encoder=f"{SAMPLES}:{checkpoint.id}")

    @functools.cached_property
    def sample_rate_hz(self) -> int:
        """The sample rate that the encoder was trained on."""
        return sampling_rate(self._checkpoint)

    @property
    def fields(self) -> tuple[FieldSpec, ...]:
        """The samples."""
        return (FieldSpec(SAMPLES, "int16", (), ragged=True),)

    @property
    def identity(self) -> Mapping[str, Any]:
        """Everything that decides the rows."""
        return {
            "family": SAMPLES,
            "id": self._checkpoint.id,
            "sample_rate_hz": self.sample_rate_hz,
            "full_scale": self._full_scale,
            "fields": [SAMPLES],
            "blank": f"{BLANK_SECONDS:g} s of silence",
        }

    @property
    def decoding(self) -> Decoding:
        """The sound at the encoder's rate."""
        return Decoding(audio_rate_hz=self.sample_rate_hz)

    @property
    def blank_steps(self) -> int:
        """The number of samples of the silence."""
        return int(BLANK_SECONDS * self.sample_rate_hz)

    def load(self) -> None:
        """Does nothing: there is no model."""

    def prepare(self, medium: Image | Frames | Waveform) -> np.ndarray:
        """Return `[S] int16`; what is beyond full scale is clipped.

        Raises:
            MediumEmpty: If the sound track holds no sample.
        """
        heard = heard_samples(medium, rate_hz=self.sample_rate_hz, encoder=self._checkpoint.id)
        scaled = np.rint(heard * np.float32(self._full_scale))
        return np.clip(scaled, -self._full_scale, self._full_scale - 1).astype(np.int16)

    def blank(self) -> np.ndarray:
        """Return the silence."""
        return np.zeros(self.blank_steps, np.int16)

    def units(self, prepared: np.ndarray) -> int:
        """Return how many places of a batch a clip takes."""
        return places(len(prepared), rate_hz=self.sample_rate_hz)

    def encode(self, items: Sequence[np.ndarray], *, batch_size: int) -> list[Row]:
        """Return one row a clip."""
        del batch_size
        return [{SAMPLES: item} for item in items]
