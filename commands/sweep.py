"""`pfcli sweep`: a grid from the command line, a file or a preset, trained and evaluated."""

from pathlib import Path

from ..library.sweeping import plan_sweep, train_planned
from ..library.to_type import command
from ..library.workspace import ConfigFile, Workspace
from ..stopping import stopping
from ..tables import Cell, Spread, Table
from ..train.report.collect import read_results
from ..train.report.report import failed_table
from ..train.settings import EvalSettings, TrainSettings
from ..train.sweep.grid import cell_label
from ..train.sweep.record import CellRecord, SweepRecord
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
