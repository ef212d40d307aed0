"""What the commands that look after a cache can be told."""

from dataclasses import dataclass
from typing import Annotated, Literal

from ..settings import Help, Positive, Settings, setting


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
