"""`pfcli demo`: the whole job on the embedded data, and the tables that come of it."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

from ..errors import RunError
from ..library.sweeping import plan_sweep, train_planned
from ..library.workspace import Workspace, shipped
from ..tables import Cell, Spread, Table
from ..train.report.collect import Result, read_results
from ..train.sweep.settings import SweepSettings
from .extract import print_extraction

ORDER = ("noprompt", "blackimage", "promptfuse", "blindprompt")
LONGEST_FIRST = ("promptfuse", "blackimage", "blindprompt", "noprompt")


def run_demo(workspace: Workspace, *, seeds: int) -> list[Table]:
    """Extract the shipped datasets, train every method, print one table a task; return them."""
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
    return tables


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
