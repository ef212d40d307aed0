"""`pfcli sweep`: a grid from the command line, a file or a preset, trained and evaluated.

`pfcli demo` is one over each shipped dataset's methods, and the tables that come of it.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ..errors import RunError
from ..library.sweeping import plan_sweep, train_planned
from ..library.to_type import command
from ..library.workspace import ConfigFile, Workspace, shipped
from ..stopping import stopping
from ..tables import Cell, Spread, Table
from ..train.report.collect import Result, read_results
from ..train.report.report import failed_table
from ..train.settings import EvalSettings, TrainSettings
from ..train.sweep.grid import cell_label
from ..train.sweep.record import CellRecord, SweepRecord
from ..train.sweep.settings import SweepSettings
from .extract import print_extraction

ORDER = ("noprompt", "blackimage", "promptfuse", "blindprompt")
LONGEST_FIRST = ("promptfuse", "blackimage", "blindprompt", "noprompt")


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
    plan = plan_sweep(
        workspace,
        settings,
        config.settings("train", TrainSettings, **machine),
        config.settings("eval", EvalSettings, **machine, **split),
        announce=print_extraction,
    )
    record, runs = plan.record, sum(cell.seeds for cell in plan.cells)
    done = sum(cell.status == "done" for cell in record.cells)
    for note in plan.notes:
        print(note)
    print(
        f"sweep {record.name} on {record.dataset}: {len(plan.cells)} cells, {runs} runs; "
        f"{done} cells are done"
    )
    with stopping(settings.time_limit) as stop:
        record = train_planned(plan, stop)
    rows = [_summary_row(cell, plan.places.runs, plan.evaluation.split) for cell in record.cells]
    columns = ["cell", "status", "runs", "figure", "score"]
    print(Table(f"Sweep {record.name}", columns, rows).text())
    if (failed := failed_table(record)) is not None:
        print(f"\n{failed.text()}\nthe same command tries these again")
    report = command(workspace, "report", "--sweep", record.name)
    print(f"wrote {plan.places.sweep}\nnext: {report}")
    return record


def _summary_row(cell: CellRecord, runs_root: Path, split: str | None) -> list[Cell]:
    """Return a cell's status and its headline figure over the seeds."""
    label, runs = cell_label(cell.settings), len(cell.runs) or None
    results, _ = read_results([runs_root / name for name in cell.runs], split=split)
    if cell.status != "done" or not results:  # the split may have no answers
        return [label, cell.status, runs, None, None]
    headline = results[0].headline
    score = Spread.of([result.values[headline] for result in results])
    return [label, cell.status, runs, headline, score]


def run_demo(workspace: Workspace, *, seeds: int) -> None:
    """Extract the shipped datasets, train every method, print one table a task."""
    started = time.perf_counter()
    tables = [_table(replace(workspace, dataset=name), seeds) for name in shipped().datasets]
    print()
    for table in tables:
        print(table.text(), end="\n\n")
    print(
        f"{seeds} seed{'s' if seeds > 1 else ''} (initialisation and order of examples), "
        "mean ± standard deviation; "
        f"{time.perf_counter() - started:.0f} s in all.\nThe embedded models are small: "
        "this shows the method at work, it does not replicate the paper."
    )


def _table(workspace: Workspace, seeds: int) -> Table:
    settings = SweepSettings(method=LONGEST_FIRST, seeds=seeds)
    plan = plan_sweep(replace(workspace, data=None), settings, announce=print_extraction)
    record = train_planned(plan)
    for cell in record.failed:
        raise RunError(f"{cell.settings.method} on {record.dataset} failed: {cell.error}")
    cells = {cell.settings.method: cell.runs for cell in record.cells}
    return comparison(
        record.dataset,
        {name: read_results([plan.places.runs / run for run in cells[name]])[0] for name in ORDER},
    )


def comparison(dataset: str, results: Mapping[str, Sequence[Result]]) -> Table:
    """Return the methods' figures over seeds, then the trivial answers'."""
    first = next(iter(results.values()))[0]
    rows: list[list[Cell]] = []
    for name, seeds in results.items():
        spreads = [Spread.of([seed.values[column] for seed in seeds]) for column in first.columns]
        rows.append([name, *spreads, len(seeds)])
    for name, values in first.trivial.items():
        rows.append([name, *(values.get(column) for column in first.columns), 1])
    trained = results["promptfuse"][0].record.train_examples
    title = (
        f"{dataset}: {trained} training examples, {first.examples} of {first.split!r}, in percent"
    )
    return Table(title, ["method", *first.columns, "seeds"], rows)
