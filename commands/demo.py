"""`pfcli demo`: the whole job on the embedded data, and the tables that come of it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from ..extract.settings import ExtractSettings
from ..extract.threads import undivided_work, usable_processors
from ..library.extraction import extract
from ..library.workspace import Workspace, shipped
from ..tables import Cell, Spread, Table
from ..train.data.selection import select
from ..train.evaluate import Evaluation, evaluate_run
from ..train.fusion.methods import METHODS
from ..train.plm import load_plm
from ..train.plm.frozen import PLM
from ..train.runs.finish import finish_runs
from ..train.runs.start import start_runs
from ..train.settings import EvalSettings, TrainSettings
from .extract import print_extraction

ORDER = ("noprompt", "blackimage", "promptfuse", "blindprompt")
LONGEST_FIRST = ("promptfuse", "blackimage", "blindprompt", "noprompt")


def run_demo(workspace: Workspace, *, seeds: int) -> list[Table]:
    """Extract the shipped datasets, train every method, print one table a task; return them."""
    started = time.perf_counter()
    for dataset in shipped().datasets:
        own = replace(workspace, dataset=dataset, data=None)
        print_extraction(extract(own, ExtractSettings()))
    found = _train_all(workspace, seeds)
    tables = [comparison(dataset, found[dataset]) for dataset in shipped().datasets]
    print()
    for table in tables:
        print(table.text(), end="\n\n")
    print(
        f"{seeds} seeds (initialisation and order of examples), mean ± standard deviation; "
        f"{time.perf_counter() - started:.0f} s in all.\nThe embedded models are small: "
        "this shows the method at work, it does not replicate the paper."
    )
    return tables


def _train_all(workspace: Workspace, seeds: int) -> dict[str, dict[str, list[Evaluation]]]:
    """Return every method's evaluations by dataset; one method a processor at a time.

    Models this small gain little from several threads in one product, and lose much where another
    program keeps a processor busy; whole methods side by side have neither fault.
    """
    plms = {dataset: load_plm(workspace.row(dataset).plm_for()) for dataset in shipped().datasets}
    started = {
        (dataset, method): _start(workspace, dataset, plms[dataset], method, seeds)
        for dataset in shipped().datasets
        for method in LONGEST_FIRST
    }
    with (
        undivided_work() as undivided,
        ThreadPoolExecutor(usable_processors(), initializer=undivided) as pool,
    ):
        futures = {
            job: pool.submit(_finish, workspace, plms[job[0]], folders)
            for job, folders in started.items()
        }
        done = {job: future.result() for job, future in futures.items()}
    return {
        dataset: {name: done[dataset, name] for name in ORDER} for dataset in shipped().datasets
    }


def _start(workspace: Workspace, dataset: str, plm: PLM, method: str, seeds: int) -> list[Path]:
    """Return the folders of one method's runs; without training one run says it all."""
    trained = METHODS[method].trains
    settings = TrainSettings(method=method, seeds=seeds if trained else 1)
    selection = select(Path(workspace.cache), dataset, settings.split, settings.inputs)
    presets = workspace.presets_of(dataset)
    return start_runs(selection, Path(workspace.runs), plm, settings, presets=presets)


def _finish(workspace: Workspace, plm: PLM, folders: Sequence[Path]) -> list[Evaluation]:
    """Return the evaluations of one method's runs, after training them side by side."""
    cache_root = Path(workspace.cache)
    finish_runs(folders, cache_root, plm, checkpoint_every=TrainSettings().checkpoint_every)
    return [evaluate_run(one, cache_root, plm, EvalSettings(), quiet=True) for one in folders]


def comparison(dataset: str, found: Mapping[str, Sequence[Evaluation]]) -> Table:
    """Return the methods' figures over seeds, then the trivial answers'."""
    first = next(iter(found.values()))[0]
    if first.metrics is None:
        raise ValueError(f"split {first.split!r} of {dataset} has no answers")
    columns = first.metrics.columns
    rows: list[list[Cell]] = []
    for name, runs in found.items():
        seeds = [run.metrics.values for run in runs if run.metrics is not None]
        figures = [Spread.of([values[column] for values in seeds]) for column in columns]
        rows.append([name, *figures, len(seeds)])
    for name, trivial in first.trivial.items():
        rows.append([name, *(trivial.values.get(column) for column in columns), 1])
    examples = found["promptfuse"][0].record.train_examples
    title = (
        f"{dataset}: {examples} training examples, {first.metrics.examples} of {first.split!r}, "
        "in percent"
    )
    return Table(title, ["method", *columns, "seeds"], rows)
