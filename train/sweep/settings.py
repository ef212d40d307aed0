"""What `pfcli sweep` can be told."""

from dataclasses import dataclass
from typing import Annotated

from ...settings import Device, Help, Positive, Threads
from .grid import GridSettings
from .presets import SWEEPS

_GRID = "Grid"


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
