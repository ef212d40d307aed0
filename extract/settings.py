"""What `pfcli extract` can be told."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from ..cache.modalities import MODALITIES
from ..cluster import Address, EngineName, require_engine
from ..errors import ConfigError
from ..settings import Device, Help, NonNegative, Positive, PositiveFloat, Settings, TimeLimit
from ..stopping import seconds_of

_DATA, _ENCODERS, _LIMITS = "Data", "Encoders and features", "What is refused"


@dataclass(frozen=True)
class ExtractSettings(Settings):
    """One extraction command; None leaves a value to the dataset or the modality."""

    modality: Annotated[
        tuple[str, ...] | None,
        Help(
            f"{', '.join(MODALITIES)}, or all.", _DATA, choices=MODALITIES, default="all there are"
        ),
    ] = None
    adapter: Annotated[
        str | None, Help("What reads the data, such as table.", _DATA, default="by name or file")
    ] = None
    options: Annotated[
        Mapping[str, Any],
        Help(
            "The adapter's options: positive=True.",
            _DATA,
            metavar="NAME=VALUE",
            flags=("--option",),
        ),
    ] = field(default_factory=dict)
    columns: Annotated[
        Mapping[str, str],
        Help(
            "A table's column by another name: text=question.",
            _DATA,
            metavar="NAME=COLUMN",
            flags=("--column",),
        ),
    ] = field(default_factory=dict)
    encoder: Annotated[
        str | Mapping[str, str] | None,
        Help(
            "Hub id, folder, or open_clip:MODEL[:TAG or file]; pixels or samples [:ENCODER] keeps "
            "decoded media, for finetune.",
            _ENCODERS,
            metavar="[MODALITY=]ENCODER",
            choices=MODALITIES,
        ),
    ] = None
    encoder_revision: Annotated[
        str | Mapping[str, str] | None,
        Help(
            "Branch, tag or commit of a hub id.",
            _ENCODERS,
            default="the newest there",
            metavar="[MODALITY=]REVISION",
            choices=MODALITIES,
        ),
    ] = None
    fields: Annotated[
        str | Mapping[str, str] | None,
        Help(
            "The outputs to keep: pooler,cls,sequence,average.",
            _ENCODERS,
            metavar="[MODALITY=]FIELDS",
            choices=MODALITIES,
        ),
    ] = None
    frames: Annotated[
        Positive | None, Help("Frames a video, spread evenly.", _ENCODERS, default="8")
    ] = None
    fps: Annotated[
        PositiveFloat | None, Help("Frames a second, instead of --frames.", _ENCODERS)
    ] = None
    decode: Annotated[
        Literal["full", "scaled"],
        Help("JPEG in full, or scaled by libjpeg to no less than is needed.", _ENCODERS),
    ] = "full"
    format: Annotated[Literal["arrow", "hdf5"], Help("The shards' file format.", _ENCODERS)] = (
        "arrow"
    )
    compute_dtype: Annotated[
        Literal["float32", "bfloat16", "float16"], Help("The encoders'.", _ENCODERS)
    ] = "float32"
    storage_dtype: Annotated[
        Literal["float16", "float32"], Help("The features', on disk.", _ENCODERS)
    ] = "float16"
    batch_size: Annotated[Positive, Help("Images, frames or clips a pass.", "Machine")] = 32
    workers: Annotated[Positive | None, Help("Decoding threads.", "Machine", default="cores")] = (
        None
    )
    engine: EngineName = "local"
    address: Address = None
    ray_actors: Annotated[
        Positive | None,
        Help("Ray workers that encode.", "Machine", default="one a GPU, else one a node"),
    ] = None
    shard_rows: Annotated[
        Positive | None, Help("Media a shard.", _ENCODERS, default="by the size of a row")
    ] = None
    limit: Annotated[Positive | None, Help("Examples of each split, for a trial.", _DATA)] = None
    max_failures: Annotated[
        NonNegative, Help("Succeed if at most so many media fail.", _LIMITS)
    ] = 0
    retry_failures: Annotated[bool, Help("Try again what failed before.", _LIMITS)] = False
    max_pixels: Annotated[Positive | None, Help("Refuse larger images.", _LIMITS)] = None
    max_seconds: Annotated[PositiveFloat | None, Help("Refuse longer clips.", _LIMITS)] = None
    max_bytes: Annotated[Positive | None, Help("Refuse larger files.", _LIMITS)] = None
    time_limit: TimeLimit = None
    device: Device = "auto"

    def __post_init__(self) -> None:
        seconds_of(self.time_limit)
        require_engine(self.engine, address=self.address, ray_actors=self.ray_actors)
        if self.frames is not None and self.fps is not None:
            raise ConfigError(f"frames={self.frames} and fps={self.fps} exclude each other")
