"""`pfcli demo`: the whole job on the shipped datasets, a process each, and the tables of it."""

import io
import os
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from multiprocessing import get_context, parent_process
from threading import Thread

from ..errors import PromptFuseError, RunError
from ..library.sweeping import plan_sweep, train_planned
from ..library.workspace import Workspace, shipped
from ..tables import Cell, Spread, Table
from ..threads import usable_processors
from ..train.report.collect import Result, read_results
from ..train.sweep.settings import SweepSettings
from .extract import print_extraction
from .train import CONTROLS

PROMPTS = ("promptfuse", "blindprompt")


def run_demo(workspace: Workspace, *, seeds: int) -> None:
    """Extract the shipped datasets, train every method, print one table a task.

    The methods that see too little on purpose are trained once, the others with each seed.
    The first dataset is seen to here, with its progress, each other one in a process of its own:
    so small a model waits for Python as much as for products.
    """
    started = time.perf_counter()
    first, *others = (replace(workspace, dataset=name, data=None) for name in shipped().datasets)
    jobs = max(1, usable_processors() // (1 + len(others)))
    context = get_context("spawn")
    with ProcessPoolExecutor(len(others), context, initializer=_end_with_parent) as pool:
        beside = [pool.submit(_table_unseen, other, seeds, jobs) for other in others]
        tables = [_table(first, seeds, jobs)]
        for future in beside:
            said, table = future.result()
            print(said, end="")
            tables.append(table)
    print()
    for table in tables:
        print(table.text(), end="\n\n")
    print(
        f"{seeds} seed{'s' if seeds > 1 else ''} (initialisation and order of examples), "
        "mean ± standard deviation; one for what sees too little on purpose; "
        f"{time.perf_counter() - started:.0f} s in all.\nThe embedded models are small: "
        "this shows the method at work, it does not replicate the paper."
    )


def _end_with_parent() -> None:
    """Have this process end when the one that began it was killed, as it has nobody to tell."""

    def watch() -> None:
        if (parent := parent_process()) is not None:
            parent.join()
            os._exit(1)

    Thread(target=watch, daemon=True).start()


def _table_unseen(workspace: Workspace, seeds: int, jobs: int) -> tuple[str, Table]:
    """Return what a dataset's extraction prints, and its table; progress is not shown."""
    said = io.StringIO()
    try:
        with redirect_stdout(said), redirect_stderr(io.StringIO()):
            table = _table(workspace, seeds, jobs)
    except PromptFuseError as error:  # some cannot be sent to another process as they are
        raise RunError(str(error)) from None
    return said.getvalue(), table


def _table(workspace: Workspace, seeds: int, jobs: int) -> Table:
    results: dict[str, list[Result]] = {}
    for methods, runs in ((CONTROLS, 1), (PROMPTS, seeds)):
        results |= _trained(workspace, SweepSettings(method=methods, seeds=runs, jobs=jobs))
    return comparison(str(workspace.dataset), results)


def _trained(workspace: Workspace, settings: SweepSettings) -> dict[str, list[Result]]:
    """Return a sweep's figures, by method."""
    plan = plan_sweep(workspace, settings, announce=print_extraction)
    record = train_planned(plan)
    for cell in record.failed:
        raise RunError(f"{cell.settings.method} on {record.dataset} failed: {cell.error}")
    return {
        cell.settings.method: list(read_results([plan.places.runs / run for run in cell.runs])[0])
        for cell in record.cells
    }


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
