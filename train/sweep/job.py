"""Train and evaluate every cell of a sweep, going on where the last command stopped."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, as_completed
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath
from threading import Event, Lock
from typing import Protocol

from tqdm import tqdm

from ...cache.atomic import exclusive, make_folder
from ...errors import Stopped
from ...stopping import NEVER, Stop
from ..data.selection import select
from ..evaluate import evaluate_run
from ..live import LoadLive
from ..plm.frozen import PLM
from ..presets import Presets
from ..record import DEV, RECORD, evaluations
from ..runs.finish import finish_runs
from ..runs.start import start_runs
from ..settings import EvalSettings, TrainSettings
from .grid import cell_label
from .passes import Cell, dealt
from .record import SweepRecord, write_sweep


@dataclass(frozen=True)
class Places:
    """Where a sweep reads and writes, what gives trained encoders, and the dataset's presets."""

    cache: PurePath
    runs: Path
    sweep: Path
    live: LoadLive | None = None
    presets: Presets = field(default_factory=Presets)


class TrainCells(Protocol):
    """What trains and evaluates cells that can share a pass, here or on another machine."""

    def __call__(self, cells: Sequence[Cell]) -> Iterator[Cell]:
        """Yield each cell as it is to be recorded: once its runs have begun, and at its end."""
        ...

    def interrupt(self) -> None:
        """End the cells in hand; their runs go on from their checkpoints."""
        ...


def run_sweep(
    record: SweepRecord,
    cells: Sequence[TrainSettings],
    places: Places,
    train: TrainCells,
    evaluation: EvalSettings,
    *,
    pool: Executor | None = None,
    jobs: int = 1,
    quiet: bool = False,
    stop: Stop = NEVER,
) -> SweepRecord:
    """Return the sweep after training and evaluating every cell that was not done.

    A cell that fails is recorded with its error, and the others go on; the next command tries it
    again. Threads of a `pool`, so many `jobs`, see to groups of cells side by side. One process at
    a time works on a sweep.

    Raises:
        Stopped: If `stop` asked for it; the runs in hand go on from there with the next command.
    """
    left = [
        Cell(index, cell, cells[index])
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
        work = _Work(record, places.sweep, train, stop, bar)
        _run_groups(work, dealt(left, hands=jobs), pool)
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
    train: TrainCells
    stop: Stop
    bar: tqdm
    lock: Lock = field(default_factory=Lock)

    def run_group(self, cells: Sequence[Cell]) -> None:
        """Train and evaluate what is left of cells, until it is to stop."""
        if self.stop.why is not None:
            return
        try:
            for cell in self.train(cells):
                with self.lock:
                    self._note(cell)
        except Stopped:  # each run has kept its step; `run_sweep` says so
            return

    def _note(self, cell: Cell) -> None:
        before, after = self.record.cells[: cell.index], self.record.cells[cell.index + 1 :]
        self.record = replace(self.record, cells=(*before, cell.record, *after))
        write_sweep(self.folder, self.record)
        if cell.record.status in ("done", "failed"):
            self.bar.set_postfix_str(cell_label(cell.record.settings))
            self.bar.update()


def _run_groups(work: _Work, groups: Sequence[Sequence[Cell]], pool: Executor | None) -> None:
    if pool is None:
        for cells in groups:
            work.run_group(cells)
        return
    futures = [pool.submit(work.run_group, cells) for cells in groups]
    try:
        for future in as_completed(futures):
            future.result()
    except BaseException:
        work.train.interrupt()
        for future in futures:
            future.cancel()
        raise


@dataclass
class CellTrainer:
    """A `TrainCells` in this process, for any of its threads.

    `load` is called once for consecutive cells of one language model. `announce` is told how many
    runs share a pass, which is measured; without it all do. Asked by `stop`, it raises `Stopped`.
    """

    dataset: str
    places: Places
    load: Callable[[TrainSettings], PLM]
    evaluation: EvalSettings
    announce: Callable[[str], object] | None = None
    stop: Stop = NEVER
    interrupted: Event = field(default_factory=Event)
    lock: Lock = field(default_factory=Lock)
    loaded: tuple[object, PLM] | None = None

    def __call__(self, cells: Sequence[Cell]) -> Iterator[Cell]:
        """Yield the cells with their runs recorded, then trained and evaluated, or what failed."""
        begun: list[Cell] = []
        for cell in cells:
            yield (cell := self._begun(cell))
            begun += [] if cell.failed else [cell]
        for cell in self._trained(begun):
            self.stop.check("before an evaluation")
            yield cell if cell.failed else self._evaluated(cell)

    def interrupt(self) -> None:
        """End the cells in hand at their next step."""
        self.interrupted.set()

    def _begun(self, cell: Cell) -> Cell:
        """Return a cell with its runs on disk; one thread at a time."""
        with self.lock:
            self._check_interrupted()
            try:
                return self._start(cell)
            except Exception as error:  # noqa: BLE001  # whatever it is, the other cells go on
                return cell.ended_by(error)

    def _start(self, cell: Cell) -> Cell:
        plm, places = self._model(cell.settings), self.places
        recorded = [(places.runs / name / RECORD).is_file() for name in cell.record.runs]
        if recorded and all(recorded):
            return cell.noted(status="started", error=None)
        settings = cell.record.pinned(cell.settings)
        selection = select(places.cache, self.dataset, settings.split, settings.inputs)
        live, presets = places.live, places.presets
        folders = start_runs(selection, places.runs, plm, settings, live=live, presets=presets)
        return cell.noted(runs=tuple(one.name for one in folders), status="started", error=None)

    def _model(self, settings: TrainSettings) -> PLM:
        wanted = (settings.plm, settings.plm_revision, settings.plm_dtype)
        if self.loaded is None or self.loaded[0] != wanted:
            self.loaded = None  # the old one goes before the new one comes
            self.loaded = (wanted, self.load(settings))
        return self.loaded[1]

    def _trained(self, cells: Sequence[Cell]) -> Iterator[Cell]:
        """Yield cells whose runs were trained in one pass from their checkpoints, or what failed.

        An error that is not one run's own has each cell try alone.
        """
        if not cells:
            return
        folders = [self.places.runs / name for cell in cells for name in cell.record.runs]
        try:
            ended = finish_runs(
                folders,
                self.places.cache,
                self._plm(cells[0]),
                checkpoint_every=cells[0].settings.checkpoint_every,
                quiet=True,
                after_step=self._check_interrupted,
                live=self.places.live,
                stop=self.stop,
                announce=self.announce,
            )
        except (Interrupted, Stopped):
            raise
        except Exception as error:  # noqa: BLE001  # whatever it is, the other cells go on
            if len(cells) == 1:
                yield cells[0].ended_by(error)
            else:
                for cell in cells:
                    yield from self._trained([cell])
            return
        for cell in cells:
            errors = [ended.get(self.places.runs / name) for name in cell.record.runs]
            error = next((error for error in errors if error is not None), None)
            yield cell if error is None else cell.ended_by(error)

    def _plm(self, cell: Cell) -> PLM:
        with self.lock:
            return self._model(cell.settings)

    def _evaluated(self, cell: Cell) -> Cell:
        """Return a cell after evaluating those of its runs that were not yet."""
        plm, places = self._plm(cell), self.places
        try:
            for folder in (places.runs / name for name in cell.record.runs):
                self._check_interrupted()
                if not _is_evaluated(folder, self.evaluation):
                    evaluate_run(
                        folder, places.cache, plm, self.evaluation, quiet=True, live=places.live
                    )
        except Interrupted:
            raise
        except Exception as error:  # noqa: BLE001  # whatever it is, the other cells go on
            return cell.ended_by(error)
        return cell.noted(status="done", error=None)

    def _check_interrupted(self) -> None:
        if self.interrupted.is_set():
            raise Interrupted


def _is_evaluated(folder: Path, evaluation: EvalSettings) -> bool:
    splits = set(evaluations(folder))
    return bool(splits - {DEV}) if evaluation.split is None else evaluation.split in splits
