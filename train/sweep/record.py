"""How far a sweep has come, on disk.

SWEEPS/table4-mustard/
    sweep.json    the resolved grid: each cell's settings, its runs, and an error where it failed
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePath
from typing import Literal

from ...errors import PromptFuseError, RunError, UnknownName
from ...settings import Settings
from ..record import read_fields, write_fields
from ..settings import TrainSettings
from .grid import cell_key

SWEEP = "sweep.json"


@dataclass(frozen=True)
class CellRecord(Settings):
    """One cell: the settings that runs share whose seeds differ, and the names of their folders.

    Its features are the fingerprints by modality that the cache gave when the sweep began.
    """

    settings: TrainSettings
    runs: tuple[str, ...] = ()
    status: Literal["pending", "started", "done", "failed"] = "pending"
    error: str | None = None
    features: Mapping[str, str] | None = None

    def pinned(self, settings: TrainSettings) -> TrainSettings:
        """Return settings with the features that the sweep began with."""
        if self.features is None:
            return settings
        return replace(settings, modalities=tuple(self.features), features=self.features)


@dataclass(frozen=True)
class SweepRecord(Settings):
    """A sweep: its grid and what became of each cell, in the order in which they train.

    The notes say how it is not its preset, a table of the paper.
    """

    name: str
    dataset: str
    preset: str | None
    notes: tuple[str, ...]
    cells: tuple[CellRecord, ...]

    @property
    def failed(self) -> list[CellRecord]:
        """The cells that failed."""
        return [cell for cell in self.cells if cell.status == "failed"]


def write_sweep(folder: Path, record: SweepRecord) -> None:
    """Write a sweep's record into its folder, whole or not at all."""
    write_fields(folder / SWEEP, record)


def read_sweep(folder: Path) -> SweepRecord:
    """Return the record of a sweep's folder; raises as `record.read_fields`."""
    return read_fields(SweepRecord, folder / SWEEP, "a sweep")


def find_sweep(sweeps_root: Path, name: str) -> SweepRecord:
    """Return the sweep called `name`; where there is none, the error lists those that are there."""
    if not (sweeps_root / name / SWEEP).is_file():
        there = [path.parent.name for path in sweeps_root.glob(f"*/{SWEEP}")]
        raise UnknownName(f"sweep in {sweeps_root}", name, there or ["none; run: pfcli sweep"])
    return read_sweep(sweeps_root / name)


def open_sweep(folder: Path, wanted: SweepRecord) -> SweepRecord:
    """Return the sweep in `folder` as it was left, or where there is none the one `wanted`.

    A sweep of another grid or dataset is refused.
    """
    if not (folder / SWEEP).is_file():
        return wanted
    record = read_sweep(folder)
    own, asked = ([cell_key(cell.settings) for cell in of.cells] for of in (record, wanted))
    if record.dataset != wanted.dataset or own != asked:
        raise RunError(
            f"{folder} holds a sweep of {record.dataset} with another grid "
            f"({len(own)} cells, now {len(asked)}); choose another --name"
        )
    return record


def pin_features(record: SweepRecord, cache_root: PurePath) -> tuple[SweepRecord, list[str]]:
    """Return a sweep whose cells name their features, and a line for each that changed since.

    A cell keeps the features that the cache gave when the sweep began; what the cache gives now
    is looked at to say so where that is not the same.
    """
    from ..data.selection import select  # brings torch, which a report does without

    given: dict[str, Mapping[str, str] | str] = {}
    cells, notes = [], []
    for cell in record.cells:
        split, inputs = cell.settings.split, cell.settings.inputs
        asked = json.dumps([split, asdict(inputs)])
        if asked not in given:
            try:
                features = select(cache_root, record.dataset, split, inputs).features
                given[asked] = {
                    name: chosen.manifest.first_fingerprint for name, chosen in features.items()
                }
            except PromptFuseError as error:  # the cell fails with it; the others go on
                given[asked] = str(error)
        now = given[asked]
        if cell.features is not None:
            notes += _changes(cell.features, now)
        elif not isinstance(now, str):
            cell = replace(cell, features=now)
        cells.append(cell)
    return replace(record, cells=tuple(cells)), list(dict.fromkeys(notes))


def _changes(pinned: Mapping[str, str], now: Mapping[str, str] | str) -> list[str]:
    """Return a line for each feature set that is another `now`, or why there is none."""
    since = "the cache changed since the sweep began"
    if isinstance(now, str):
        kept = ", ".join(f"{name} features {pinned[name]}" for name in pinned)
        return [f"{since}, and its cells go on with {kept}: {now}"]
    return [
        f"{since}: {name} features were {pinned.get(name, 'none')} and now would be "
        f"{now.get(name, 'none')}; its cells go on with {pinned.get(name, 'none')}"
        for name in {**pinned, **now}
        if pinned.get(name) != now.get(name)
    ]
