"""What `pfcli sweep` can be told."""

from dataclasses import dataclass

from ...cluster import Address, EngineName, require_engine
from ...settings import Device, Positive, Threads, TimeLimit, setting
from ...stopping import seconds_of
from .grid import GRID, GridSettings
from .presets import SWEEPS


@dataclass(frozen=True)
class SweepSettings(GridSettings):
    """One sweep; what its grid leaves open is the section of train's."""

    grid: str | None = setting(
        None, "A TOML file: method, shots, seeds, [set], [[variants]].", GRID
    )
    preset: str | None = setting(
        None, f"The paper's {', '.join(SWEEPS)}.", GRID, choices=SWEEPS, metavar="TABLE"
    )
    name: str | None = setting(None, "Of the sweep's folder.", default="by preset and dataset")
    jobs: Positive | None = setting(
        None,
        "Cells trained at once.",
        "Machine",
        default="1; processors for embedded datasets",
    )
    engine: EngineName = "local"
    address: Address = None
    split: str | None = setting(None, "Evaluate on it, such as dev.", default="test; val for VQA")
    device: Device = "auto"
    threads: Threads = None
    time_limit: TimeLimit = None

    def __post_init__(self) -> None:
        seconds_of(self.time_limit)
        require_engine(self.engine, address=self.address)
