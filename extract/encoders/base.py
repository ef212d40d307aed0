"""What every encoder is to the pipeline, and the choices that a user makes for one."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, get_args

import numpy as np

from ...cache.manifest import FieldSpec
from ...errors import ConfigError, UnknownName
from ..media import FrameSampling

ComputeDtype = Literal["float32", "bfloat16", "float16"]
StorageDtype = Literal["float16", "float32"]

#: How long the blank clip is: what stands for black frames and for silence.
BLANK_SECONDS = 5.0

#: The one field of audio encoders: a vector each 20 ms.
SOUND_FIELD = "last_hidden_state"

DEFAULT_SAMPLING = FrameSampling(rule="uniform", count=8)

#: The features of one medium, by field.
Row = dict[str, np.ndarray]


@dataclass(frozen=True)
class Decoding:
    """What an encoder needs from one pass over a clip.

    Attributes:
        video: The frames to choose, None where the encoder does not look.
        transform_frame: `[H, W, 3] uint8` → the array that is kept of a frame, at once.
        audio_rate_hz: The sample rate to deliver, None where the encoder does not listen.
    """

    video: FrameSampling | None = None
    transform_frame: Callable[[np.ndarray], np.ndarray] | None = None
    audio_rate_hz: int | None = None


class Model(Protocol):
    """A built encoder with its preprocessing."""

    @property
    def parallel(self) -> int:
        """How many forward passes may run at once."""
        ...

    @property
    def transform(self) -> Callable[[np.ndarray], np.ndarray]:
        """From `[H, W, 3] uint8` or samples `[S] float32` to what the model takes, unbatched."""
        ...

    def forward(
        self, batch: np.ndarray, fields: tuple[str, ...], mask: np.ndarray | None = None
    ) -> dict[str, np.ndarray]:
        """Return `[B, ...]` in the storage dtype for each field; `mask` is `[B, S]`, of sound."""
        ...


@dataclass(frozen=True)
class EncoderOptions:
    """A user's choices for an encoder.

    Attributes:
        fields: The arrays to keep, None for the encoder's usual ones.
        compute_dtype: Of the weights and the forward pass.
        storage_dtype: Of the stored features.
        sampling: Which frames of a video are encoded.
        device: As `device_named` takes it; it is not part of what the features are.
        revision: The hub's branch, tag or commit.
    """

    fields: tuple[str, ...] | None = None
    compute_dtype: ComputeDtype = "float32"
    storage_dtype: StorageDtype = "float16"
    sampling: FrameSampling = DEFAULT_SAMPLING
    device: str = "auto"
    revision: str | None = None

    def __post_init__(self) -> None:
        if self.compute_dtype not in get_args(ComputeDtype):
            raise UnknownName("compute dtype", self.compute_dtype, get_args(ComputeDtype))
        if self.storage_dtype not in get_args(StorageDtype):
            raise UnknownName("storage dtype", self.storage_dtype, get_args(StorageDtype))
        if self.fields is not None and (
            not self.fields or len(set(self.fields)) < len(self.fields)
        ):
            raise ConfigError(f"fields are one or more different names, not {list(self.fields)}")

    def choose(
        self, *, usual: Sequence[str], valid: Sequence[str], encoder: str
    ) -> tuple[str, ...]:
        """Return the names of the fields to keep, in the order of `valid`.

        Raises:
            UnknownName: If a wanted field is not one that this encoder gives.
        """
        wanted = tuple(usual) if self.fields is None else self.fields
        for name in wanted:
            if name not in valid:
                raise UnknownName(f"field of encoder {encoder}", name, list(valid))
        return tuple(name for name in valid if name in wanted)

    def dtypes(self) -> dict[str, str]:
        """Return the part of an identity that says how numbers are computed and stored."""
        return {"compute_dtype": self.compute_dtype, "storage_dtype": self.storage_dtype}

    def sampling_identity(self) -> dict[str, Any]:
        """Return the part of a video encoder's identity that says which frames it sees."""
        chosen = self.sampling
        if chosen.rule == "uniform":
            return {"rule": chosen.rule, "count": chosen.count}
        return {"rule": chosen.rule, "fps": chosen.fps, "max_frames": chosen.max_frames}


class Encoder(Protocol):
    """Something that turns media of one modality into features.

    The model is built by `load` or by the first `encode`. `prepare` may run in any number of
    threads at once.

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

    def load(self) -> None:
        """Build the model and the preprocessing, if that was not done before."""
        ...

    def prepare(self, medium: Any) -> np.ndarray:
        """Return a decoded medium of its modality as the model takes it."""
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
