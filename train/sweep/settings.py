"""What `pfcli sweep` can be told, and what a grid's file can say."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from ...settings import Device, Help, Positive, Settings, Threads, TimeLimit
from ...stopping import seconds_of
from ..fusion.methods import METHODS
from .presets import SWEEPS

_GRID = "Grid"


@dataclass(frozen=True)
class GridSettings(Settings):
    """What varies between the cells of a sweep.

    Attributes:
        variants: Sets of settings of which each combination takes one.
    """

    method: Annotated[tuple[str, ...], Help("Methods.", _GRID, choices=METHODS)] = ()
    shots: Annotated[
        tuple[Positive | Literal["full"], ...], Help("Sizes, and full: 8,32,full.", _GRID)
    ] = ()
    seeds: Annotated[Positive | None, Help("Runs of each cell, side by side.", _GRID)] = None
    set: Annotated[
        Mapping[str, Any],
        Help(
            "Any setting of train; lists as a+b, tables as image:cls+audio:x.",
            _GRID,
            metavar="NAME=VALUE,VALUE",
        ),
    ] = field(default_factory=dict)
    variants: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True)
class SweepSettings(GridSettings):
    """One sweep; what its grid leaves open is the section of train's."""

    grid: Annotated[
        str | None, Help("A TOML file: method, shots, seeds, [set], [[variants]].", _GRID)
    ] = None
    preset: Annotated[
        str | None,
        Help(f"The paper's {', '.join(SWEEPS)}.", _GRID, choices=SWEEPS, metavar="TABLE"),
    ] = None
    name: Annotated[str | None, Help("Of the sweep's folder.", default="by preset and dataset")] = (
        None
    )
    jobs: Annotated[
        Positive | None,
        Help("Cells trained at once.", "Machine", default="1; processors for embedded datasets"),
    ] = None
    split: Annotated[
        str | None, Help("Evaluate on it, such as dev.", default="test; val for VQA")
    ] = None
    device: Device = "auto"
    threads: Threads = None
    time_limit: TimeLimit = None

    def __post_init__(self) -> None:
        seconds_of(self.time_limit)
