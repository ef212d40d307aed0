"""What every encoder is to the pipeline, and the choices that a user makes for one."""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any, Literal, Protocol, TypeVar, get_args

import numpy as np

from ...cache.manifest import FieldSpec
from ...errors import ConfigError, UnknownName
from ..media import FrameSampling, Size

Decode = Literal["full", "scaled"]
ComputeDtype = Literal["float32", "bfloat16", "float16"]
StorageDtype = Literal["float16", "float32"]
T = TypeVar("T")

#: How long the blank clip is: what stands for black frames and for silence.
BLANK_SECONDS = 5.0

DEFAULT_SAMPLING = FrameSampling(rule="uniform", count=8)

#: The features of one medium, by field.
Row = dict[str, np.ndarray]


@dataclass(frozen=True)
class Decoding:
    """What an encoder needs from one pass over a clip, or of a picture.

    Attributes:
        video: The frames to choose, None where the encoder does not look.
        transform_frame: `[H, W, 3] uint8` → the array that is kept of a frame, at once.
        audio_rate_hz: The sample rate to deliver, None where the encoder does not listen.
        least: The size above which a picture may be scaled down while it is decoded, None where
            its own size is wanted.
    """

    video: FrameSampling | None = None
    transform_frame: Callable[[np.ndarray], np.ndarray] | None = None
    audio_rate_hz: int | None = None
    least: Size | None = None


class Model(Protocol):
    """A built encoder with its preprocessing."""

    @property
    def parallel(self) -> int:
        """How many forward passes may run at once."""
        ...

    @property
    def transform(self) -> Callable[[np.ndarray], np.ndarray]:
        """From `[H, W, 3] uint8` or samples `[S] float32` to what `forward` takes, unbatched."""
        ...

    def forward(
        self, batch: np.ndarray, fields: tuple[str, ...], mask: np.ndarray | None = None
    ) -> Row:
        """Return `[B, ...]` in the storage dtype for each field.

        `mask` is of sound, `[B, S] int64`: 1 where a clip is, 0 behind its end.
        """
        ...


@dataclass(frozen=True)
class Preprocessing:
    """A `Model` that computes nothing: what an encoder would be given is what is kept."""

    transform: Callable[[np.ndarray], np.ndarray]
    parallel: int = 1

    def forward(
        self,
        batch: np.ndarray,
        fields: tuple[str, ...],
        mask: np.ndarray | None = None,  # noqa: ARG002
    ) -> Row:
        """Return the batch itself."""
        return dict.fromkeys(fields, batch)


def once(build: Callable[[], T]) -> Callable[[], T]:
    """Return what builds something at its first call, whichever thread that comes from."""
    building, built = Lock(), functools.cache(build)

    def get() -> T:
        with building:
            return built()

    return get


@dataclass(frozen=True)
class EncoderOptions:
    """A user's choices for an encoder.

    `fields` are the arrays to keep, None for the encoder's usual ones; `sampling` says which frames
    of a video are encoded, `decode` whether JPEG pictures are decoded near the size that is needed;
    `device` is as `device_named` takes it, and no part of what the features are; `revision` is the
    hub's branch, tag or commit.
    """

    fields: tuple[str, ...] | None = None
    compute_dtype: ComputeDtype = "float32"
    storage_dtype: StorageDtype = "float16"
    sampling: FrameSampling = DEFAULT_SAMPLING
    decode: Decode = "full"
    device: str = "auto"
    revision: str | None = None

    def __post_init__(self) -> None:
        if self.compute_dtype not in get_args(ComputeDtype):
            raise UnknownName("compute dtype", self.compute_dtype, get_args(ComputeDtype))
        if self.storage_dtype not in get_args(StorageDtype):
            raise UnknownName("storage dtype", self.storage_dtype, get_args(StorageDtype))
        if self.decode not in get_args(Decode):
            raise UnknownName("way to decode", self.decode, get_args(Decode))
        if self.fields is not None and not 0 < len(self.fields) == len(set(self.fields)):
            raise ConfigError(f"fields are one or more different names, not {list(self.fields)}")

    def choose(
        self, *, usual: Sequence[str], valid: Sequence[str], encoder: str
    ) -> tuple[str, ...]:
        """Return the names of the fields to keep, in the order of `valid`."""
        wanted = tuple(usual) if self.fields is None else self.fields
        for name in wanted:
            if name not in valid:
                raise UnknownName(f"field of encoder {encoder}", name, list(valid))
        return tuple(name for name in valid if name in wanted)

    def identity(self) -> dict[str, Any]:
        """Return the part of an identity that says what is computed, and how it is stored."""
        dtypes = {"compute_dtype": self.compute_dtype, "storage_dtype": self.storage_dtype}
        return {"layer": "last", **dtypes}


class Encoder(Protocol):
    """Something that turns media of one modality into features.

    Attributes:
        modality: The kind of media it takes: a name in `MODALITIES`.
        identity: Everything that decides its output, for the fingerprint.
        provenance: What is worth knowing and decides nothing, such as a path.
        fields: The arrays of each row.
        decoding: What it needs from a clip.
        blank_steps: The steps of the row of `blank`: of five seconds' row, 1 for an image.
    """

    modality: str
    identity: Mapping[str, Any]
    provenance: Mapping[str, Any]
    fields: tuple[FieldSpec, ...]
    decoding: Decoding
    blank_steps: int

    @property
    def parallel(self) -> int:
        """How many calls of `encode` may run at once, in threads; known once it is loaded."""
        ...

    def load(self) -> Any:
        """Return the model with its preprocessing, built at the first call (or by `encode`)."""
        ...

    def prepare(self, medium: Any) -> np.ndarray:
        """Return a decoded medium of its modality as the model takes it, in any thread."""
        ...

    def blank(self) -> np.ndarray:
        """Return what stands for no signal, prepared: a black image, black frames, silence."""
        ...

    def units(self, prepared: np.ndarray) -> int:
        """Return how many places of a batch a prepared medium takes."""
        ...

    def encode(self, items: Sequence[np.ndarray], *, batch_size: int) -> list[Row]:
        """Return the features of prepared media, in their order."""
        ...
