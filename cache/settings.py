"""What the commands that look after a cache can be told."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from ..settings import Help, Positive, Settings, setting
from .modalities import MODALITIES


@dataclass(frozen=True)
class InspectSettings(Settings):
    """One look at a cache."""


@dataclass(frozen=True)
class VerifySettings(Settings):
    """One check of a cache."""

    repair: Annotated[bool, Help("Give up damaged shards, to be extracted anew.")] = False


@dataclass(frozen=True)
class ConvertSettings(Settings):
    """One conversion of a cache's shards."""

    format: Annotated[Literal["arrow", "hdf5"], Help("The shards' new format.")]


@dataclass(frozen=True)
class CopySettings(Settings):
    """One copy of a cache to another place, or from there."""


@dataclass(frozen=True)
class MergeSettings(Settings):
    """One merge of other caches into one."""

    features_only: Annotated[bool, Help("Take no datasets: rows and failures alone.")] = False


@dataclass(frozen=True)
class CompactSettings(Settings):
    """One compaction of a cache's feature sets."""

    shard_megabytes: Positive = setting(64, "Up to which size shards are joined, in MiB.")


@dataclass(frozen=True)
class GcSettings(Settings):
    """One removal of what nothing in a cache needs."""

    dry_run: Annotated[bool, Help("Say what would go, and remove nothing.")] = False
    asked: Annotated[bool, Help("Remove also what was encoded to answer questions.")] = False


@dataclass(frozen=True)
class ImportSettings(Settings):
    """One import of features that exist already."""

    modality: Annotated[str, Help(f"Of which media they are: {', '.join(MODALITIES)}.")]
    media: Path | None = setting(
        None,
        "The media, a path or id a row: text, CSV or JSONL (column path or id).",
        default="the files' own keys",
    )
    encoder: str = setting("unknown", "What made them, as far as it is known.")
    field: str | None = setting(
        None, "The name of an npy file's features.", default="the modality's usual field"
    )


@dataclass(frozen=True)
class ExportFeaturesSettings(Settings):
    """One export of feature sets as files."""

    modality: str | None = setting(None, f"Of which media: {', '.join(MODALITIES)}.", default="all")
    features: str | None = setting(
        None, "The beginning of a set's fingerprint.", default="all sets"
    )
    fields: tuple[str, ...] | None = setting(None, "Fields to write.", default="all")
    format: Literal["safetensors", "parquet"] = setting("safetensors", "Of the files.")
    by_split: bool = setting(False, "One file a split of --dataset, with the ids of its examples.")
