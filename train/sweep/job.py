"""Train and evaluate every cell of a sweep, going on where the last command stopped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tqdm import tqdm

from ...cache.atomic import exclusive, make_folder
from ...errors import PromptFuseError
from ..evaluate import evaluate_run
from ..job import finish_runs, start_runs
from ..plm.protocol import PLM
from ..runs import PROMPT, RECORD
from ..selection import select
from ..settings import EvalSettings, TrainSettings
from .grid import cell_label
from .record import CellRecord, SweepRecord, write_sweep

LoadPlm = Callable[[str | None, str], PLM]
"""From a source (None for the dataset's default) and a dtype to a frozen language model."""


@dataclass(frozen=True)
class Places:
    """Where a sweep reads and writes.

    Attributes:
        cache: Examples and features.
        runs: The runs' folders.
        sweep: The sweep's own folder.
    """

    cache: Path
    runs: Path
    sweep: Path


class _LoadedOnce:
    """The last language model asked for, so that a sweep over one loads it once."""

    def __init__(self, load: LoadPlm) -> None:
        self._load = load
        self._held: tuple[tuple[str | None, str], PLM] | None = None

    def get(self, settings: TrainSettings) -> PLM:
        wanted = (settings.plm, settings.plm_dtype)
        if self._held is None or self._held[0] != wanted:
            self._held = None  # the old one goes before the new one comes
            self._held = (wanted, self._load(*wanted))
        return self._held[1]


def run_sweep(
    record: SweepRecord,
    cells: Sequence[TrainSettings],
    places: Places,
    load: LoadPlm,
    evaluation: EvalSettings,
    *,
    quiet: bool = False,
) -> SweepRecord:
    """Return the sweep after training and evaluating every cell that was not done.

    A cell that fails is recorded with its error, and the next one starts; the next command tries
    it again.

    Args:
        record: The sweep as it was left.
        cells: The settings of its cells, in their order.
        places: Where things are.
        load: Gives a language model; called once for consecutive cells of one model.
        evaluation: How runs are evaluated.
        quiet: Show no progress bar.

    Raises:
        CacheBusy: If another process is at work on the same sweep.
    """
    models = _LoadedOnce(load)
    left = [
        index
        for index, cell in enumerate(record.cells)
        if cell.status != "done" or not _all_evaluated(cell, places.runs, evaluation)
    ]
    make_folder(places.sweep)
    with (
        exclusive(places.sweep, doing=f"the sweep {record.name!r}"),
        tqdm(
            total=len(cells),
            initial=len(cells) - len(left),
            unit="cell",
            desc="sweep",
            disable=True if quiet else None,
        ) as bar,
    ):
        write_sweep(places.sweep, record)
        for index in left:
            bar.set_postfix_str(cell_label(record.cells[index].settings))
            record = _run_cell(record, index, cells[index], places, models, evaluation)
            bar.update()
    return record


def _run_cell(
    record: SweepRecord,
    index: int,
    settings: TrainSettings,
    places: Places,
    models: _LoadedOnce,
    evaluation: EvalSettings,
) -> SweepRecord:
    cell = record.cells[index]
    try:
        plm = models.get(settings)
        if not cell.runs or not _all_there(cell, places.runs):
            selection = select(places.cache, record.dataset, settings.split, settings.inputs)
            folders = start_runs(selection, places.runs, plm, settings)
            cell = CellRecord(cell.settings, tuple(one.name for one in folders), "started")
            record = _noted(record, index, cell, places)
        _finish(cell, settings, places, plm, evaluation)
        cell = replace(cell, status="done", error=None)
    except PromptFuseError as error:
        cell = replace(cell, status="failed", error=f"{type(error).__name__}: {error}")
    return _noted(record, index, cell, places)


def _noted(record: SweepRecord, index: int, cell: CellRecord, places: Places) -> SweepRecord:
    record = record.with_cell(index, cell)
    write_sweep(places.sweep, record)
    return record


def _finish(
    cell: CellRecord, settings: TrainSettings, places: Places, plm: PLM, evaluation: EvalSettings
) -> None:
    """Train a cell's runs from their last checkpoint and evaluate those that were not yet."""
    folders = [places.runs / name for name in cell.runs]
    if not all((folder / PROMPT).is_file() for folder in folders):
        finish_runs(
            folders, places.cache, plm, checkpoint_every=settings.checkpoint_every, quiet=True
        )
    for folder in folders:
        if not _is_evaluated(folder, evaluation):
            evaluate_run(folder, places.cache, plm, evaluation, quiet=True)


def _all_evaluated(cell: CellRecord, runs_root: Path, evaluation: EvalSettings) -> bool:
    return all(_is_evaluated(runs_root / name, evaluation) for name in cell.runs)


def _is_evaluated(folder: Path, evaluation: EvalSettings) -> bool:
    return any(folder.glob(f"eval-{evaluation.split or '*'}/metrics.json"))


def _all_there(cell: CellRecord, runs_root: Path) -> bool:
    return all((runs_root / name / RECORD).is_file() for name in cell.runs)
