"""Decoded media as rows: what an encoder that runs live takes, so that media are decoded once.

`pixels:SPEC` gives images and frames as SPEC's own preprocessing resizes and crops them, before it
rescales and normalises; `samples:SPEC` gives sound at SPEC's rate. Only SPEC's configuration and
preprocessing are read.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...cache.manifest import FieldSpec
from ...cache.modalities import MODALITIES
from ...errors import EncoderError
from ...pretrained import Pretrained
from ..media import Frames, Image, Waveform
from .audio import heard_samples, places, sampling_rate
from .base import BLANK_SECONDS, Decoding, EncoderOptions, Row
from .image import PixelPlan, PixelTransform, TowerEncoder, TowerPlan

PIXELS, SAMPLES = "pixels", "samples"

# What happens to the pixels afterwards.
_AFTERWARDS = frozenset(
    {"do_rescale", "rescale_factor", "do_normalize", "image_mean", "image_std", "mean", "std"}
)
_PROBES = ((224, 224), (120, 160))


class _PixelTower:
    """An image tower that does nothing but resize and crop."""

    parallel = 1

    def __init__(self, transform: PixelTransform) -> None:
        self.transform = transform

    def forward(
        self,
        batch: np.ndarray,
        fields: tuple[str, ...],
        mask: np.ndarray | None = None,  # noqa: ARG002
    ) -> dict[str, np.ndarray]:
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
    transform = pixels.make()
    plan = TowerPlan(
        name=name,
        identity={"family": PIXELS, "id": pixels.id, "class": pixels.kind, "preprocessing": kept},
        provenance={"revision": pixels.revision} if pixels.revision else {},
        fields=dict.fromkeys(fields, _shape(transform, name)),
        build=lambda: _PixelTower(transform),
        shortest_side=pixels.shortest_side,
        dtype="uint8",
    )
    return TowerEncoder(plan, modality=modality, options=options)


def _shape(transform: PixelTransform, name: str) -> tuple[int, ...]:
    """Return [C, H, W], the same for an image of any size."""
    probed = [transform(np.zeros((*size, 3), np.uint8)) for size in _PROBES]
    shapes = {pixels.shape for pixels in probed}
    if len(shapes) > 1:
        raise EncoderError(
            f"encoder {name!r}: preprocessing gives images of different sizes, {sorted(shapes)}; "
            "set a fixed size or a centre crop in its preprocessor_config.json"
        )
    pixels = probed[0]
    if pixels.dtype != np.uint8 or pixels.ndim != 3:
        raise EncoderError(
            f"encoder {name!r}: preprocessing gives {pixels.dtype} {list(pixels.shape)} before "
            "rescaling, where uint8 [C, H, W] was expected"
        )
    return pixels.shape


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
        options.choose(usual=(SAMPLES,), valid=(SAMPLES,), encoder=f"{SAMPLES}:{checkpoint.id}")
        self.modality = modality
        revision = checkpoint.revision
        self.provenance: Mapping[str, Any] = {"revision": revision} if revision else {}
        self.fields = (FieldSpec(SAMPLES, "int16", (), ragged=True),)
        self.sample_rate_hz = sampling_rate(checkpoint)
        self.decoding = Decoding(audio_rate_hz=self.sample_rate_hz)
        self.blank_steps = int(BLANK_SECONDS * self.sample_rate_hz)
        self._id = checkpoint.id
        self._full_scale = MODALITIES[modality].full_scale
        self.identity: Mapping[str, Any] = {
            "family": SAMPLES,
            "id": checkpoint.id,
            "sample_rate_hz": self.sample_rate_hz,
            "full_scale": self._full_scale,
            "fields": [SAMPLES],
            "blank": f"{BLANK_SECONDS:g} s of silence",
        }

    def load(self) -> None:
        """Do nothing: there is no model."""

    def prepare(self, medium: Image | Frames | Waveform) -> np.ndarray:
        """Return `[S] int16`; what is beyond full scale is clipped.

        Raises:
            MediumEmpty: If the sound track holds no sample.
        """
        heard = heard_samples(medium, rate_hz=self.sample_rate_hz, encoder=self._id)
        scaled = np.rint(heard * np.float32(self._full_scale))
        return np.clip(scaled, -self._full_scale, self._full_scale - 1).astype(np.int16)

    def blank(self) -> np.ndarray:
        """Return the silence."""
        return np.zeros(self.blank_steps, np.int16)

    def units(self, prepared: np.ndarray) -> int:
        """Return how many places of a batch a clip takes."""
        return places(len(prepared), rate_hz=self.sample_rate_hz)

    def encode(self, items: Sequence[np.ndarray], *, batch_size: int) -> list[Row]:  # noqa: ARG002
        """Return one row a clip."""
        return [{SAMPLES: item} for item in items]
