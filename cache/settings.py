"""What the commands that look after a cache can be told."""

from dataclasses import dataclass
from typing import Annotated, Literal

from ..settings import Help, Settings


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
