"""Image towers as encoders: of images, and of videos frame by frame."""

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from threading import Lock
from typing import Any

import numpy as np
from PIL import Image as Picture

from ...cache.fingerprint import canonical_json
from ...cache.manifest import FieldSpec
from ...cache.modalities import MODALITIES
from ...errors import EncoderError, MediumTooLarge, MediumUnreadable
from ..media import Frames, Image, Waveform
from .base import BLANK_SECONDS, Decoding, EncoderOptions, Model, Row

_BLANK_SIDE = 224
_LONGEST_RESIZED_PIXELS = 64_000_000

PixelTransform = Callable[[np.ndarray], np.ndarray]
"""From a picture, `[H, W, 3] uint8`, to `[C, H, W]`."""


@dataclass(frozen=True)
class TowerPlan:
    """An image tower before it is built.

    Attributes:
        name: How the user calls it, for messages.
        identity: What decides its vectors, fields and sampling apart.
        provenance: Where it came from.
        fields: Name and shape of the arrays to keep.
        build: Loads weights and preprocessing.
        shortest_side: The side to which preprocessing scales the shorter one, None where it
            gives both sides.
        dtype: Of what is stored where nothing is computed, None where the user chooses it.
    """

    name: str
    identity: Mapping[str, Any]
    provenance: Mapping[str, Any]
    fields: Mapping[str, tuple[int, ...]]
    build: Callable[[], Model]
    shortest_side: int | None = None
    dtype: str | None = None


@dataclass(frozen=True)
class PixelPlan:
    """How pictures are resized and cropped for a tower, before they are rescaled.

    Attributes:
        id: The tower's name.
        kind: Its class, as in its identity.
        preprocessing: What its preprocessing is given.
        shortest_side: As in `TowerPlan`.
        make: Makes what turns `[H, W, 3] uint8` into `[C, H, W] uint8`.
        revision: The hub's commit, if from there.
    """

    id: str
    kind: str
    preprocessing: Mapping[str, Any]
    shortest_side: int | None
    make: Callable[[], PixelTransform]
    revision: str | None = None


class TowerEncoder:
    """An image tower, applied to images or to the chosen frames of a video.

    The rows of a video are ragged: `[F, ...]` for F frames. Frames of different clips share
    batches.

    Args:
        plan: The tower.
        modality: Of pictures: its name.
        options: The user's choices.

    Attributes:
        tower: Names weights, preprocessing, dtypes and device: what two encoders can share.
    """

    def __init__(self, plan: TowerPlan, *, modality: str, options: EncoderOptions) -> None:
        self._framed = MODALITIES[modality].framed
        self._plan = plan
        self._building = Lock()
        dtype, sampling = plan.dtype or options.storage_dtype, options.sampling
        self.modality = modality
        self.provenance = plan.provenance
        self.fields = tuple(
            FieldSpec(name=name, dtype=dtype, shape=shape, ragged=self._framed)
            for name, shape in plan.fields.items()
        )
        self.decoding, self.blank_steps, blank = Decoding(), 1, "a black image"
        seen: dict[str, Any] = {}
        if self._framed:
            self.decoding = Decoding(video=sampling, transform_frame=self.transform)
            self.blank_steps = len(sampling.moments(0.0, BLANK_SECONDS))
            seen["sampling"] = options.sampling_identity()
            blank = f"{self.blank_steps} black frames"
        computed = {"layer": "last", **options.dtypes()} if plan.dtype is None else {}
        self.tower = canonical_json({**plan.identity, **computed, "device": options.device})
        self.identity: Mapping[str, Any] = {
            **plan.identity,
            **computed,
            **seen,
            "fields": list(plan.fields),
            "blank": blank,
        }

    @property
    def parallel(self) -> int:
        """How many calls of `encode` may run at once."""
        return self.model.parallel

    @functools.cached_property
    def _built(self) -> Model:
        return self._plan.build()

    @property
    def model(self) -> Model:
        """The tower, built once."""
        with self._building:
            return self._built

    def take_from(self, other: "TowerEncoder") -> None:
        """Use another's model, which it builds when the first of both needs it."""
        if other is not self:
            self._plan = replace(self._plan, build=lambda: other.model)

    def load(self) -> None:
        """Build the model, once."""
        _ = self.model

    def transform(self, pixels: np.ndarray) -> np.ndarray:
        """Return an image or a frame, `[H, W, 3] uint8`, as the model takes it.

        Raises:
            MediumTooLarge: If it is so long and thin that scaling it would fill the memory.
            MediumUnreadable: If preprocessing refuses its shape.
        """
        self._check_shape(pixels)
        tower = self.model
        try:
            return tower.transform(pixels)
        except (ValueError, RuntimeError, ZeroDivisionError) as error:
            height, width = pixels.shape[:2]
            raise MediumUnreadable(
                f"{width} x {height} pixels cannot be preprocessed for this encoder: {error}"
            ) from error

    def prepare(self, medium: Image | Frames | Waveform) -> np.ndarray:
        """Return an image as `[...]`, frames (transformed while decoding) as `[F, ...]`."""
        if isinstance(medium, Image):
            return self.transform(medium.pixels)
        if isinstance(medium, Frames):
            return np.asarray(medium.pixels)
        raise TypeError(f"{type(medium).__name__} is not what an image tower looks at")

    def blank(self) -> np.ndarray:
        """Return a black image, or as many black frames as five seconds would give."""
        black = self.transform(np.zeros((_BLANK_SIDE, _BLANK_SIDE, 3), np.uint8))
        return np.stack([black] * self.blank_steps) if self._framed else black

    def units(self, prepared: np.ndarray) -> int:
        """Return the number of images or frames."""
        return len(prepared) if self._framed else 1

    def encode(self, items: Sequence[np.ndarray], *, batch_size: int) -> list[Row]:
        """Return one row an item, with at most `batch_size` images in a forward pass."""
        images = [frame for item in items for frame in item] if self._framed else list(items)
        tower, names = self.model, tuple(self._plan.fields)
        parts = [
            tower.forward(_stack(images[start : start + batch_size]), names)
            for start in range(0, len(images), batch_size)
        ]
        values = {name: np.concatenate([part[name] for part in parts]) for name in names}
        if not self._framed:
            return [{name: values[name][i] for name in names} for i in range(len(items))]
        ends = np.cumsum([len(item) for item in items])
        spans = [slice(end - len(item), end) for item, end in zip(items, ends, strict=True)]
        return [{name: array[span] for name, array in values.items()} for span in spans]

    def _check_shape(self, pixels: np.ndarray) -> None:
        height, width = pixels.shape[:2]
        short, long = min(height, width), max(height, width)
        side = self._plan.shortest_side
        if side is not None and side * side * long > short * _LONGEST_RESIZED_PIXELS:
            raise MediumTooLarge(
                f"{width} x {height} pixels: with its short side scaled to {side}, as this encoder "
                f"does, it would have {side * side * long // short:,} pixels"
            )


def share_towers(encoders: Iterable[object]) -> None:
    """Let encoders of one and the same tower, such as of images and of video, build it once."""
    first: dict[str, TowerEncoder] = {}
    for encoder in encoders:
        if isinstance(encoder, TowerEncoder):
            encoder.take_from(first.setdefault(encoder.tower, encoder))


def _stack(images: list[np.ndarray]) -> np.ndarray:
    shapes = {image.shape for image in images}
    if len(shapes) > 1:
        raise EncoderError(
            f"preprocessing gave images of different sizes, {sorted(shapes)}; an encoder needs one "
            "size: set a fixed size or a centre crop in its preprocessor_config.json"
        )
    return np.stack(images)


def cropping(compose: Any) -> PixelTransform:
    """Return torchvision's steps before the tensor: `[H, W, 3] uint8` → `[3, H, W] uint8`."""
    *steps, _to_tensor, _normalise = compose.transforms

    def transform(pixels: np.ndarray) -> np.ndarray:
        image: Any = Picture.fromarray(pixels)
        for step in steps:
            image = step(image)
        return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1))

    return transform


def composed(compose: Any) -> dict[str, Any]:
    """Return the two ends of torchvision's preprocessing, as `BuiltModel` takes them."""
    return {
        "transform": lambda pixels: compose(Picture.fromarray(pixels)).numpy(),
        "normalise": lambda pixels: compose.transforms[-1](pixels / 255),
    }
