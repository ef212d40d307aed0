"""Train and evaluate every cell of a sweep, going on where the last command stopped."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, as_completed
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event, Lock

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

LoadPlm = Callable[[TrainSettings], PLM]
"""From a cell's settings to its frozen language model."""


@dataclass(frozen=True)
class Places:
    """Where a sweep reads and writes.

    Attributes:
        live: Gives the encoders that a method trains.
        presets: What the dataset trains with.
    """

    cache: Path
    runs: Path
    sweep: Path
    live: LoadLive | None = None
    presets: Presets = field(default_factory=Presets)


class _LoadedOnce:
    """The last language model asked for, so that a sweep over one loads it once."""

    def __init__(self, load: LoadPlm) -> None:
        self._load = load
        self._held: tuple[tuple[str | None, ...], PLM] | None = None

    def get(self, settings: TrainSettings) -> PLM:
        wanted = (settings.plm, settings.plm_revision, settings.plm_dtype)
        if self._held is None or self._held[0] != wanted:
            self._held = None  # the old one goes before the new one comes
            self._held = (wanted, self._load(settings))
        return self._held[1]


def run_sweep(
    record: SweepRecord,
    cells: Sequence[TrainSettings],
    places: Places,
    load: LoadPlm,
    evaluation: EvalSettings,
    *,
    pool: Executor | None = None,
    quiet: bool = False,
    stop: Stop = NEVER,
) -> SweepRecord:
    """Return the sweep after training and evaluating every cell that was not done.

    A cell that fails is recorded with its error, and the next one starts; the next command tries
    it again.

    `load` is called once for consecutive cells of one language model; threads of a `pool` train
    cells side by side.

    Raises:
        CacheBusy: If another process is at work on the same sweep.
        Stopped: If `stop` asked for it; the cells in hand are finished before.
    """
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
        work = _Work(record, places, _LoadedOnce(load), evaluation, stop)
        for label in _finished(work, left, cells, pool):
            if label is not None:
                bar.set_postfix_str(label)
                bar.update()
        done = sum(cell.status == "done" for cell in work.record.cells)
        if done < len(cells):
            stop.check(f"with {done} of {len(cells)} cells done; the same command goes on")
    return work.record


class _Stopped(Exception):
    """Raised in threads whose sweep was interrupted; the runs go on from their checkpoints."""


class _Work:
    """A sweep in progress: its record, which several threads bring up to date."""

    def __init__(
        self,
        record: SweepRecord,
        places: Places,
        models: _LoadedOnce,
        evaluation: EvalSettings,
        stop: Stop,
    ) -> None:
        self.record = record
        self.stopped = Event()
        self._places = places
        self._models = models
        self._evaluation = evaluation
        self._stop = stop
        self._lock = Lock()

    def run_cell(self, index: int, settings: TrainSettings) -> str | None:
        """Train and evaluate what is left of a cell; return its name, None if it is to stop."""
        if self._stop.why is not None:
            return None
        cell = self.record.cells[index]
        try:
            cell, plm = self._start(index, cell, settings)
            self._finish(cell, settings, plm)
            cell = replace(cell, status="done", error=None)
        except _Stopped:
            raise
        except Exception as error:  # noqa: BLE001  # whatever it is, the other cells go on
            cell = replace(cell, status="failed", error=f"{type(error).__name__}: {error}")
        with self._lock:
            self._note(index, cell)
        return cell_label(cell.settings)

    def _start(
        self, index: int, cell: CellRecord, settings: TrainSettings
    ) -> tuple[CellRecord, PLM]:
        """Return the cell with its runs recorded, and its language model; one thread at a time."""
        with self._lock:
            self._check_stopped()
            plm, places = self._models.get(settings), self._places
            if not cell.runs or not _all_there(cell, places.runs):
                settings = cell.pinned(settings)
                selection = select(
                    places.cache, self.record.dataset, settings.split, settings.inputs
                )
                folders = start_runs(
                    selection,
                    places.runs,
                    plm,
                    settings,
                    live=places.live,
                    presets=places.presets,
                )
                names = tuple(folder.name for folder in folders)
                cell = replace(cell, runs=names, status="started", error=None)
                self._note(index, cell)
            return cell, plm

    def _finish(self, cell: CellRecord, settings: TrainSettings, plm: PLM) -> None:
        """Train a cell's runs from their last checkpoint and evaluate those that were not yet."""
        folders = [self._places.runs / name for name in cell.runs]
        if not all((folder / PROMPT).is_file() for folder in folders):
            finish_runs(
                folders,
                self._places.cache,
                plm,
                checkpoint_every=settings.checkpoint_every,
                quiet=True,
                after_step=self._check_stopped,
                live=self._places.live,
            )
        for folder in folders:
            self._check_stopped()
            if not _is_evaluated(folder, self._evaluation):
                evaluate_run(
                    folder,
                    self._places.cache,
                    plm,
                    self._evaluation,
                    quiet=True,
                    live=self._places.live,
                )

    def _note(self, index: int, cell: CellRecord) -> None:
        self.record = self.record.with_cell(index, cell)
        write_sweep(self._places.sweep, self.record)

    def _check_stopped(self) -> None:
        if self.stopped.is_set():
            raise _Stopped


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
        work.stopped.set()
        for future in futures:
            future.cancel()
        raise


def _all_evaluated(cell: CellRecord, runs_root: Path, evaluation: EvalSettings) -> bool:
    return all(_is_evaluated(runs_root / name, evaluation) for name in cell.runs)


def _is_evaluated(folder: Path, evaluation: EvalSettings) -> bool:
    found = set(evaluations(folder))
    return bool(found - {DEV}) if evaluation.split is None else evaluation.split in found


def _all_there(cell: CellRecord, runs_root: Path) -> bool:
    return all((runs_root / name / RECORD).is_file() for name in cell.runs)
