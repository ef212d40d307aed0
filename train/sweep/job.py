"""Train and evaluate every cell of a sweep, going on where the last command stopped."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, as_completed
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath
from threading import Event, Lock
from typing import Protocol

from tqdm import tqdm

from ...cache.atomic import exclusive, make_folder
from ...stopping import NEVER, Stop
from ..data.selection import select
from ..evaluate import evaluate_run
from ..live import LoadLive
from ..plm.frozen import PLM
from ..presets import Presets
from ..record import DEV, PROMPT, RECORD, evaluations
from ..runs.finish import finish_runs
from ..runs.start import start_runs
from ..settings import EvalSettings, TrainSettings
from .grid import cell_label
from .record import CellRecord, SweepRecord, write_sweep


@dataclass(frozen=True)
class Places:
    """Where a sweep reads and writes, what gives trained encoders, and the dataset's presets."""

    cache: PurePath
    runs: Path
    sweep: Path
    live: LoadLive | None = None
    presets: Presets = field(default_factory=Presets)


class TrainCell(Protocol):
    """What trains and evaluates cells, here or on another machine."""

    def __call__(self, cell: CellRecord, settings: TrainSettings) -> Iterator[CellRecord]:
        """Yield the cell as it is to be recorded: once its runs have begun, and at its end."""
        ...

    def interrupt(self) -> None:
        """End the cells in hand; their runs go on from their checkpoints."""
        ...


def run_sweep(
    record: SweepRecord,
    cells: Sequence[TrainSettings],
    places: Places,
    train: TrainCell,
    evaluation: EvalSettings,
    *,
    pool: Executor | None = None,
    quiet: bool = False,
    stop: Stop = NEVER,
) -> SweepRecord:
    """Return the sweep after training and evaluating every cell that was not done.

    A cell that fails is recorded with its error, and the next one starts; the next command tries
    it again. Threads of a `pool` see to cells side by side. One process at a time works on a sweep.

    Raises:
        Stopped: If `stop` asked for it; the cells in hand are finished before.
    """
    left = [
        index
        for index, cell in enumerate(record.cells)
        if cell.status != "done"
        or not all(_is_evaluated(places.runs / name, evaluation) for name in cell.runs)
    ]
    make_folder(places.sweep)
    done, hidden = len(cells) - len(left), quiet or None
    with (
        exclusive(places.sweep, doing=f"the sweep {record.name!r}"),
        tqdm(total=len(cells), initial=done, unit="cell", desc="sweep", disable=hidden) as bar,
    ):
        write_sweep(places.sweep, record)
        work = _Work(record, places.sweep, train, stop)
        for label in _finished(work, left, cells, pool):
            if label is not None:
                bar.set_postfix_str(label)
                bar.update()
        done = sum(cell.status == "done" for cell in work.record.cells)
        if done < len(cells):
            stop.check(f"with {done} of {len(cells)} cells done; the same command goes on")
    return work.record


class Interrupted(Exception):
    """Raised in threads whose sweep was interrupted; the runs go on from their checkpoints."""


@dataclass
class _Work:
    """A sweep in progress: its record, which several threads bring up to date."""

    record: SweepRecord
    folder: Path
    train: TrainCell
    stop: Stop
    lock: Lock = field(default_factory=Lock)

    def run_cell(self, index: int, settings: TrainSettings) -> str | None:
        """Train and evaluate what is left of a cell; return its name, None if it is to stop."""
        if self.stop.why is not None:
            return None
        begun = self.record.cells[index]
        for cell in self.train(begun, settings):
            with self.lock:
                self._note(index, cell)
        return cell_label(begun.settings)

    def _note(self, index: int, cell: CellRecord) -> None:
        before, after = self.record.cells[:index], self.record.cells[index + 1 :]
        self.record = replace(self.record, cells=(*before, cell, *after))
        write_sweep(self.folder, self.record)


@dataclass
class CellTrainer:
    """A `TrainCell` in this process, for any of its threads.

    `load` is called once for consecutive cells of one language model.
    """

    dataset: str
    places: Places
    load: Callable[[TrainSettings], PLM]
    evaluation: EvalSettings
    interrupted: Event = field(default_factory=Event)
    lock: Lock = field(default_factory=Lock)
    loaded: tuple[object, PLM] | None = None

    def __call__(self, cell: CellRecord, settings: TrainSettings) -> Iterator[CellRecord]:
        """Yield the cell with its runs recorded, then trained and evaluated, or what failed."""
        try:
            cell, plm = self._start(cell, settings)
            yield cell
            self._finish(cell, settings, plm)
            yield replace(cell, status="done", error=None)
        except Interrupted:
            raise
        except Exception as error:  # noqa: BLE001  # whatever it is, the other cells go on
            yield failed(cell, error)

    def interrupt(self) -> None:
        """End the cells in hand at their next step."""
        self.interrupted.set()

    def _start(self, cell: CellRecord, settings: TrainSettings) -> tuple[CellRecord, PLM]:
        """Return the cell with its runs on disk, and its language model; one thread at a time."""
        with self.lock:
            self._check_interrupted()
            plm, places = self._model(settings), self.places
            recorded = [(places.runs / name / RECORD).is_file() for name in cell.runs]
            if recorded and all(recorded):
                return cell, plm
            settings, live, presets = cell.pinned(settings), places.live, places.presets
            split, inputs = settings.split, settings.inputs
            selection = select(places.cache, self.dataset, split, inputs)
            folders = start_runs(selection, places.runs, plm, settings, live=live, presets=presets)
            names = tuple(folder.name for folder in folders)
            return replace(cell, runs=names, status="started", error=None), plm

    def _model(self, settings: TrainSettings) -> PLM:
        wanted = (settings.plm, settings.plm_revision, settings.plm_dtype)
        if self.loaded is None or self.loaded[0] != wanted:
            self.loaded = None  # the old one goes before the new one comes
            self.loaded = (wanted, self.load(settings))
        return self.loaded[1]

    def _finish(self, cell: CellRecord, settings: TrainSettings, plm: PLM) -> None:
        """Train a cell's runs from their last checkpoint and evaluate those that were not yet."""
        cache, live = self.places.cache, self.places.live
        folders = [self.places.runs / name for name in cell.runs]
        if not all((folder / PROMPT).is_file() for folder in folders):
            finish_runs(
                folders,
                cache,
                plm,
                checkpoint_every=settings.checkpoint_every,
                quiet=True,
                after_step=self._check_interrupted,
                live=live,
            )
        for folder in folders:
            self._check_interrupted()
            if not _is_evaluated(folder, self.evaluation):
                evaluate_run(folder, cache, plm, self.evaluation, quiet=True, live=live)

    def _check_interrupted(self) -> None:
        if self.interrupted.is_set():
            raise Interrupted


def failed(cell: CellRecord, error: Exception) -> CellRecord:
    """Return a cell with the error that ended it."""
    return replace(cell, status="failed", error=f"{type(error).__name__}: {error}")


def _finished(
    work: _Work, indices: Sequence[int], cells: Sequence[TrainSettings], pool: Executor | None
) -> Iterator[str | None]:
    """Yield each cell's name as it comes to its end, None of one that was not begun."""
    if pool is None:
        for index in indices:
            yield work.run_cell(index, cells[index])
        return
    futures = [pool.submit(work.run_cell, index, cells[index]) for index in indices]
    try:
        for future in as_completed(futures):
            yield future.result()
    except BaseException:
        work.train.interrupt()
        for future in futures:
            future.cancel()
        raise


def _is_evaluated(folder: Path, evaluation: EvalSettings) -> bool:
    splits = set(evaluations(folder))
    return bool(splits - {DEV}) if evaluation.split is None else evaluation.split in splits
