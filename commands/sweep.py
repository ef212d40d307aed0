"""`pfcli sweep`: a grid from the command line, a file or a preset, trained and evaluated."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from ..cache.examples import read_dataset
from ..extract.reopen import live_encoders
from ..extract.threads import undivided_work, usable_processors
from ..library.config import ConfigFile
from ..library.extraction import provide_generated
from ..library.to_type import command
from ..library.training import dataset_in_cache, load_chosen
from ..library.workspace import DatasetRow, Workspace, read_toml
from ..settings import COMMAND_LINE
from ..tables import Cell, Spread, Table
from ..train.fusion.methods import METHODS
from ..train.plm import PLMS
from ..train.report.collect import read_results
from ..train.report.report import failed_table
from ..train.settings import EvalSettings, TrainSettings
from ..train.sweep.choice import choice_of, grid_settings
from ..train.sweep.grid import cell_label, expand, grid_hash
from ..train.sweep.job import Places, run_sweep
from ..train.sweep.presets import PLM_BY_FAMILY, Available, preset_grid
from ..train.sweep.record import CellRecord, SweepRecord, open_sweep, pin_features
from ..train.sweep.settings import SweepSettings
from .extract import print_extraction


def run_sweep_command(
    config: ConfigFile, workspace: Workspace, settings: SweepSettings
) -> SweepRecord:
    """Train and evaluate what is left of a sweep, print what came of it; return its record."""
    machine = {
        name: value
        for name, value in (("device", settings.device), ("threads", settings.threads))
        if value != getattr(SweepSettings, name)
    }
    split = {} if settings.split is None else {"split": settings.split}
    base = config.settings("train", TrainSettings, **machine)
    evaluation = config.settings("eval", EvalSettings, **machine, **split)
    choice = choice_of(settings, COMMAND_LINE)
    if settings.grid is not None:
        said = grid_settings(read_toml(Path(settings.grid)), settings.grid)
        choice = choice.over(choice_of(said, settings.grid))
    preset = settings.preset
    for extraction in provide_generated(workspace, ()):
        print_extraction(extraction)
    dataset = dataset_in_cache(workspace)
    workspace = replace(workspace, dataset=dataset)
    row = workspace.row(dataset)
    notes: list[str] = []
    grid = choice
    if preset is not None:
        task = read_dataset(Path(workspace.cache), dataset).task
        its, notes = preset_grid(preset, dataset=dataset, task=task, available=_available(row))
        grid = choice.over(its)
    cells = expand(grid, base)
    for extraction in provide_generated(workspace, [cell.inputs for cell in cells]):
        print_extraction(extraction)
    own = settings.name or _name(
        preset, dataset, cells, bare=choice.empty and base == TrainSettings()
    )
    folder = Path(workspace.sweeps) / own
    wanted = SweepRecord(own, dataset, preset, tuple(notes), ())
    record = open_sweep(folder, wanted, cells=cells)
    record, changes = pin_features(record, Path(workspace.cache))
    runs = sum(one.seeds for one in cells)
    done = sum(cell.status == "done" for cell in record.cells)
    for note in (*notes, *changes):
        print(note)
    print(f"sweep {own} on {dataset}: {len(cells)} cells, {runs} runs; {done} cells are done")
    places = Places(
        Path(workspace.cache),
        Path(workspace.runs),
        folder,
        live_encoders(base.device),
        workspace.presets_of(dataset),
    )
    with _threads(_jobs(settings.jobs, row)) as pool:
        record = run_sweep(
            record,
            cells,
            places,
            lambda cell: load_chosen(row, cell),
            evaluation,
            pool=pool,
        )
    print(_summary(record, places.runs, evaluation.split).text())
    if (failed := failed_table(record)) is not None:
        print(f"\n{failed.text()}\nthe same command tries these again")
    report = command(workspace, "report", "--sweep", record.name)
    print(f"wrote {folder}\nnext: {report}")
    return record


def _jobs(asked: int | None, row: DatasetRow) -> int:
    """Return how many cells train at once: a processor each with small models.

    They gain little from several threads in one product; a large model fills the processors alone.
    """
    return asked or (usable_processors() if row.sweep.side_by_side else 1)


@contextmanager
def _threads(count: int) -> Iterator[Executor | None]:
    """Yield threads of one torch thread each, or None for one, which needs none."""
    if count == 1:
        yield None
        return
    with (
        undivided_work() as undivided,
        ThreadPoolExecutor(count, thread_name_prefix="cell", initializer=undivided) as pool,
    ):
        yield pool


def _available(row: DatasetRow) -> Available:
    """Return what this version has for a dataset, its language models by family."""
    shots = row.sweep.shots
    return Available(
        methods=METHODS,
        settings=[field.name for field in dataclasses.fields(TrainSettings)],
        plms=row.sweep.plms or {one: PLM_BY_FAMILY[one] for one in PLMS if one in PLM_BY_FAMILY},
        shots=tuple(size if isinstance(size, int) else None for size in shots) if shots else None,
        seeds=row.sweep.seeds,
    )


def _name(preset: str | None, dataset: str, cells: Sequence[TrainSettings], *, bare: bool) -> str:
    """Return a name that the same command gives again and another grid does not."""
    if preset is not None and bare:
        return f"{preset}-{dataset}"
    return f"{preset or 'grid'}-{dataset}-{grid_hash(cells)}"


def _summary(record: SweepRecord, runs_root: Path, split: str | None) -> Table:
    """Return a row a cell: its status and its headline figure over the seeds."""
    rows = [_summary_row(cell, runs_root, split) for cell in record.cells]
    return Table(f"Sweep {record.name}", ["cell", "status", "runs", "figure", "score"], rows)


def _summary_row(cell: CellRecord, runs_root: Path, split: str | None) -> list[Cell]:
    label, runs = cell_label(cell.settings), len(cell.runs) or None
    if cell.status != "done":
        return [label, cell.status, runs, None, None]
    results, _ = read_results([runs_root / name for name in cell.runs], split=split)
    if not results:  # the split has no answers
        return [label, cell.status, runs, None, None]
    headline = results[0].headline
    score = Spread.of([result.values[headline] for result in results])
    return [label, cell.status, runs, headline, score]
