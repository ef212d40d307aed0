"""Image towers as encoders: of images, and of videos frame by frame; and their pixels alone."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image as Picture

from ...cache.fingerprint import canonical_json
from ...cache.manifest import FieldSpec
from ...cache.modalities import MODALITIES
from ...errors import EncoderError, MediumTooLarge, MediumUnreadable
from ..media import Frames, Image, Size, Waveform
from .base import BLANK_SECONDS, Decoding, EncoderOptions, Model, Preprocessing, Row, once

_BLANK_SIDE = 224
_LONGEST_RESIZED_PIXELS = 64_000_000

PixelTransform = Callable[[np.ndarray], np.ndarray]
"""From a picture, `[H, W, 3] uint8`, to `[C, H, W]`."""

PIXELS = "pixels"

# What happens to the pixels after they are resized and cropped.
_AFTERWARDS = frozenset(
    {"do_rescale", "rescale_factor", "do_normalize", "image_mean", "image_std", "mean", "std"}
)
_PROBES = ((224, 224), (120, 160))


@dataclass(frozen=True)
class PixelPlan:
    """How pictures are resized and cropped for a tower, before they are rescaled.

    Attributes:
        id: The tower's name.
        kind: Its class, as in its identity.
        preprocessing: What its preprocessing is given.
        shortest_side: The side to which it scales the shorter one, None where it gives both.
        size: The size to which it scales, where it gives both.
        make: Makes what turns `[H, W, 3] uint8` into `[C, H, W] uint8`.
        revision: The hub's commit, if from there.
    """

    id: str
    kind: str
    preprocessing: Mapping[str, Any]
    shortest_side: int | None
    make: Callable[[], PixelTransform]
    size: Size | None = None
    revision: str | None = None

    def needed(self) -> dict[str, Any]:
        """Return what a `TowerEncoder` knows of the sizes."""
        side = self.shortest_side
        return {"shortest_side": side, "least": (side, side) if side else self.size}


class TowerEncoder:
    """An image tower, applied to images or to the chosen frames of a video.

    The rows of a video are ragged: `[F, ...]` for F frames. Frames of different clips share
    batches.

    `build` loads weights and preprocessing; `identity` is what decides the tower's vectors, fields
    and sampling apart; `shapes` are those of the arrays to keep, by field; `shortest_side` is as in
    `PixelPlan`, `least` as in `Decoding`; `dtype` is stored where nothing is computed, else the
    user chooses.
    """

    def __init__(
        self,
        build: Callable[[], Model],
        *,
        modality: str,
        options: EncoderOptions,
        identity: Mapping[str, Any],
        provenance: Mapping[str, Any],
        shapes: Mapping[str, tuple[int, ...]],
        shortest_side: int | None = None,
        least: Size | None = None,
        dtype: str | None = None,
    ) -> None:
        self._framed = MODALITIES[modality].framed
        self._shortest_side = shortest_side
        self.load = once(build)
        self.modality = modality
        self.provenance = provenance
        self.fields = tuple(
            FieldSpec(name, dtype or options.storage_dtype, shape, ragged=self._framed)
            for name, shape in shapes.items()
        )
        self.decoding, self.blank_steps, blank = Decoding(), 1, "a black image"
        seen = options.identity() if dtype is None else {}
        self._tower = canonical_json({**identity, **seen, "device": options.device})
        if self._framed:
            sampling = options.sampling
            self.decoding = Decoding(video=sampling, transform_frame=self.transform)
            self.blank_steps = len(sampling.moments(0.0, BLANK_SECONDS))
            blank = f"{self.blank_steps} black frames"
            unused = ("fps", "max_frames") if sampling.rule == "uniform" else ("count",)
            seen["sampling"] = {k: v for k, v in vars(sampling).items() if k not in unused}
        elif options.decode == "scaled":
            if least is None:
                raise EncoderError(
                    f"encoder {identity['id']!r}: decode is 'scaled', but its preprocessing does "
                    "not say to what size it scales; leave it at 'full'"
                )
            self.decoding = Decoding(least=least)
            seen["decode"] = options.decode
        self.identity: Mapping[str, Any] = {
            **identity,
            **seen,
            "fields": list(shapes),
            "blank": blank,
        }

    @property
    def parallel(self) -> int:
        """How many calls of `encode` may run at once."""
        return self.load().parallel

    def transform(self, pixels: np.ndarray) -> np.ndarray:
        """Return an image or a frame, `[H, W, 3] uint8`, as the model takes it.

        Raises:
            MediumTooLarge: If it is so long and thin that scaling it would fill the memory.
            MediumUnreadable: If preprocessing refuses its shape.
        """
        height, width = pixels.shape[:2]
        short, long, side = min(height, width), max(height, width), self._shortest_side
        if side is not None and side * side * long > short * _LONGEST_RESIZED_PIXELS:
            raise MediumTooLarge(
                f"{width} x {height} pixels: with its short side scaled to {side}, as this encoder "
                f"does, it would have {side * side * long // short:,} pixels"
            )
        tower = self.load()
        try:
            return tower.transform(pixels)
        except (ValueError, RuntimeError, ZeroDivisionError) as error:
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
        tower, names = self.load(), tuple(field.name for field in self.fields)
        parts = [
            tower.forward(_stack(images[start : start + batch_size], self.identity["id"]), names)
            for start in range(0, len(images), batch_size)
        ]
        values = {name: np.concatenate([part[name] for part in parts]) for name in names}
        if not self._framed:
            return [{name: values[name][i] for name in names} for i in range(len(items))]
        ends = np.cumsum([len(item) for item in items])
        spans = [slice(end - len(item), end) for item, end in zip(items, ends, strict=True)]
        return [{name: array[span] for name, array in values.items()} for span in spans]


def share_towers(encoders: Iterable[object]) -> None:
    """Let encoders of one and the same tower, such as of images and of video, build it once."""
    first: dict[str, TowerEncoder] = {}
    for encoder in encoders:
        if isinstance(encoder, TowerEncoder):
            encoder.load = first.setdefault(encoder._tower, encoder).load


def _stack(images: list[np.ndarray], name: str) -> np.ndarray:
    shapes = {image.shape for image in images}
    if len(shapes) > 1:
        raise EncoderError(
            f"encoder {name!r}: preprocessing gives images of different sizes, {sorted(shapes)}; "
            "set a fixed size or a centre crop in its preprocessor_config.json"
        )
    return np.stack(images)


def load_pixels(
    spec: str, pixels: PixelPlan, *, modality: str, options: EncoderOptions
) -> TowerEncoder:
    """Return the encoder that gives pixels as another encoder, `spec`, takes them.

    It resizes and crops them by that encoder's own preprocessing, and does not rescale them: what
    an encoder that runs live is given, so that media are decoded once. No weights are read.
    """
    name = f"{PIXELS}:{spec}"
    fields = options.choose(usual=(PIXELS,), valid=(PIXELS,), encoder=name)
    kept = {name: v for name, v in pixels.preprocessing.items() if name not in _AFTERWARDS}
    transform = pixels.make()
    return TowerEncoder(
        lambda: Preprocessing(transform),
        modality=modality,
        options=options,
        identity={"family": PIXELS, "id": pixels.id, "class": pixels.kind, "preprocessing": kept},
        provenance={"revision": pixels.revision} if pixels.revision else {},
        shapes=dict.fromkeys(fields, _shape(transform, name)),
        **pixels.needed(),
        dtype="uint8",
    )


def _shape(transform: PixelTransform, name: str) -> tuple[int, ...]:
    """Return [C, H, W], the same for an image of any size."""
    pixels = _stack([transform(np.zeros((*size, 3), np.uint8)) for size in _PROBES], name)[0]
    if pixels.dtype != np.uint8 or pixels.ndim != 3:
        raise EncoderError(
            f"encoder {name!r}: preprocessing gives {pixels.dtype} {list(pixels.shape)} before "
            "rescaling, where uint8 [C, H, W] was expected"
        )
    return pixels.shape


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
    """Return the two halves of torchvision's preprocessing, as `BuiltModel` takes them."""
    return {
        "transform": cropping(compose),
        "normalise": lambda pixels: compose.transforms[-1](pixels / 255),
    }
