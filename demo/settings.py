"""What `pfcli demo` can be told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from ..settings import Help, Positive, Settings


@dataclass(frozen=True)
class DemoSettings(Settings):
    """One run of the whole job on the embedded data."""

    seeds: Annotated[Positive, Help("Runs of each method.")] = 3
