"""What `pfcli extract` can be told, with defaults and checks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ..cache.modalities import MODALITIES
from ..errors import ConfigError


@dataclass(frozen=True)
class ExtractSettings:
    """One extraction command; None leaves a value to the dataset or the modality.

    Attributes:
        modality: What to encode; None takes every modality of the dataset.
        adapter: Which dataset adapter reads the annotations; None goes by the dataset's name.
        options: Further options of the adapter, such as `seed` for mustard.
        encoder: Hub id, folder or `open_clip:MODEL` by modality.
        fields: The feature fields to keep by modality.
        frames: Frames a video, spread evenly.
        fps: Frames a second of video instead of `frames`.
        format: The shards' file format.
        compute_dtype: The encoders' dtype.
        storage_dtype: The features' dtype on disk.
        batch_size: Images, frames or clips a forward pass.
        workers: Decoding threads; None takes one a core.
        shard_rows: Media a shard; None goes by the size of a row.
        limit: Examples of each split, for a trial.
        max_failures: Exit with success if at most so many media fail.
        retry_failures: Try again what failed before.
        max_pixels: Refuse larger images and frames.
        max_seconds: Refuse longer clips.
        max_bytes: Refuse larger files.
        device: "auto", "cpu" or a torch device.
    """

    modality: tuple[str, ...] | None = None
    adapter: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    encoder: Mapping[str, str] = field(default_factory=dict)
    fields: Mapping[str, str] = field(default_factory=dict)
    frames: int | None = None
    fps: float | None = None
    format: Literal["arrow", "hdf5"] = "arrow"
    compute_dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    storage_dtype: Literal["float16", "float32"] = "float16"
    batch_size: int = 32
    workers: int | None = None
    shard_rows: int | None = None
    limit: int | None = None
    max_failures: int = 0
    retry_failures: bool = False
    max_pixels: int | None = None
    max_seconds: float | None = None
    max_bytes: int | None = None
    device: str = "auto"

    def __post_init__(self) -> None:
        for name in ("frames", "fps", "batch_size", "workers", "shard_rows", "limit"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ConfigError(f"{name} is {value}; it must be above 0")
        if self.frames is not None and self.fps is not None:
            raise ConfigError(f"frames={self.frames} and fps={self.fps} exclude each other")
        named = {*(self.modality or ()), *self.encoder, *self.fields}
        unknown = sorted(named - set(MODALITIES))
        if unknown:
            raise ConfigError(
                f"unknown modality {unknown[0]!r}; choose from {', '.join(MODALITIES)}, or all"
            )
