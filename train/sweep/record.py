"""How far a sweep has come, on disk.

SWEEPS/table4-mustard/
    sweep.json    the resolved grid: each cell's settings, its runs, and an error where it failed
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from ...cache.atomic import read_json_object, write_atomic
from ...errors import PromptFuseError, RunError, UnknownName
from ...settings import Settings, read_settings
from ..data.selection import select
from ..settings import TrainSettings
from .grid import cell_key

SWEEP = "sweep.json"

Status = Literal["pending", "started", "done", "failed"]


@dataclass(frozen=True)
class CellRecord(Settings):
    """One cell: runs that differ in their seed alone.

    Attributes:
        settings: What its runs share.
        runs: The names of the runs' folders, once they are started.
        status: How far it has come.
        error: Why it failed.
        features: The fingerprint by modality that the cache gave it when the sweep began; None
            where it gave none.
    """

    settings: TrainSettings
    runs: tuple[str, ...] = ()
    status: Status = "pending"
    error: str | None = None
    features: Mapping[str, str] | None = None

    def pinned(self, settings: TrainSettings) -> TrainSettings:
        """Return settings with the features that the sweep began with."""
        if self.features is None:
            return settings
        return replace(settings, modalities=tuple(self.features), features=self.features)


@dataclass(frozen=True)
class SweepRecord(Settings):
    """A sweep: its grid and what became of each cell.

    Attributes:
        name: Its folder's name.
        dataset: The dataset that all cells train on.
        preset: The table of the paper that it stands for, or None.
        notes: What it leaves out or scales down.
        cells: In the order in which they train.
    """

    name: str
    dataset: str
    preset: str | None
    notes: tuple[str, ...]
    cells: tuple[CellRecord, ...]

    def with_cell(self, index: int, cell: CellRecord) -> SweepRecord:
        """Return this sweep with another state of one cell."""
        return replace(self, cells=(*self.cells[:index], cell, *self.cells[index + 1 :]))

    @property
    def failed(self) -> list[CellRecord]:
        """The cells that failed."""
        return [cell for cell in self.cells if cell.status == "failed"]


def write_sweep(folder: Path, record: SweepRecord) -> None:
    """Write a sweep's record into its folder, whole or not at all."""
    write_atomic(folder / SWEEP, json.dumps(asdict(record), indent=1) + "\n")


def read_sweep(folder: Path) -> SweepRecord:
    """Return the record of a sweep's folder.

    Raises:
        RunError: If the folder is no sweep's or its record is not JSON.
        ConfigError: If an entry is absent, of the wrong type or out of range.
        UnknownName: If an entry is unknown.
    """
    path = folder / SWEEP
    if not path.is_file():
        raise RunError(f"{folder} is not a sweep's folder: it has no {SWEEP}")
    return read_settings(SweepRecord, read_json_object(path, RunError), str(path), whole=True)


def find_sweep(sweeps_root: Path, name: str) -> SweepRecord:
    """Return the sweep called `name`.

    Raises:
        UnknownName: If there is none; the message lists those that are there.
    """
    if not (sweeps_root / name / SWEEP).is_file():
        found = [path.parent.name for path in sweeps_root.glob(f"*/{SWEEP}")]
        raise UnknownName(f"sweep in {sweeps_root}", name, found or ["none; run: pfcli sweep"])
    return read_sweep(sweeps_root / name)


def open_sweep(folder: Path, wanted: SweepRecord, *, cells: Sequence[TrainSettings]) -> SweepRecord:
    """Return the sweep in `folder`, new or as it was left.

    Args:
        folder: The sweep's own.
        wanted: What a new one would say, without its cells.
        cells: The settings of every cell.

    Raises:
        RunError: If the folder holds a sweep of another grid or dataset.
    """
    if not (folder / SWEEP).is_file():
        return replace(wanted, cells=tuple(CellRecord(cell) for cell in cells))
    record = read_sweep(folder)
    own = [cell_key(cell.settings) for cell in record.cells]
    if record.dataset != wanted.dataset or own != [cell_key(cell) for cell in cells]:
        raise RunError(
            f"{folder} holds a sweep of {record.dataset} with another grid "
            f"({len(record.cells)} cells, now {len(cells)}); choose another --name"
        )
    return record


def pin_features(record: SweepRecord, cache_root: Path) -> tuple[SweepRecord, list[str]]:
    """Return a sweep whose cells name their features, and a line for each that changed since.

    A cell keeps the features that the cache gave when the sweep began; what the cache gives now
    is looked at to say so where that is not the same.
    """
    given: dict[str, Mapping[str, str] | str] = {}
    cells, notes = [], []
    for cell in record.cells:
        settings = cell.settings
        asked = json.dumps([settings.split, asdict(settings.inputs)])
        if asked not in given:
            given[asked] = _features_now(cache_root, record.dataset, settings)
        now = given[asked]
        if cell.features is not None:
            notes += _changes(cell.features, now)
        elif not isinstance(now, str):
            cell = replace(cell, features=now)
        cells.append(cell)
    return replace(record, cells=tuple(cells)), list(dict.fromkeys(notes))


def _features_now(
    cache_root: Path, dataset: str, settings: TrainSettings
) -> Mapping[str, str] | str:
    """Return the fingerprint by modality that the cache gives, or why it gives none."""
    try:
        features = select(cache_root, dataset, settings.split, settings.inputs).features
    except PromptFuseError as error:  # the cell fails with it; the others go on
        return str(error)
    return {name: chosen.fingerprint for name, chosen in features.items()}


def _changes(pinned: Mapping[str, str], now: Mapping[str, str] | str) -> list[str]:
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
