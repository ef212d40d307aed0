"""`pfcli demo`: the whole job on the embedded data, and the tables that come of it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ..config import ConfigFile, Workspace
from ..demo import DEMO_DATASETS
from ..extract.settings import ExtractSettings
from ..tables import Table, seeds_table
from ..train.evaluate import Evaluation, evaluate_run
from ..train.fusion.methods import METHODS
from ..train.job import finish_runs, start_runs
from ..train.plm.protocol import PLM
from ..train.selection import select
from ..train.settings import EvalSettings, TrainSettings
from .defaults import plm_for
from .extract import run_extraction
from .train import load

ORDER = ("noprompt", "blackimage", "promptfuse", "blindprompt")


def run_demo(workspace: Workspace, *, seeds: int) -> list[Table]:
    """Extract both embedded datasets, train every method, print one table a task; return them."""
    started = time.perf_counter()
    tables: list[Table] = []
    for dataset in DEMO_DATASETS:
        own = replace(workspace, dataset=dataset, data=None)
        run_extraction(ConfigFile(Path(), {}), own, ExtractSettings())
        plm = load(plm_for(dataset, None), "float32", "auto", None)
        found = {name: _evaluations(own, dataset, plm, name, seeds) for name in ORDER}
        tables.append(comparison(dataset, found))
    print()
    for table in tables:
        print(table.text(), end="\n\n")
    print(
        f"{seeds} seeds (shots and initialisation), mean ± standard deviation; "
        f"{time.perf_counter() - started:.0f} s in all. The embedded models are small: "
        "this shows the method at work, it does not replicate the paper."
    )
    return tables


def _evaluations(
    workspace: Workspace, dataset: str, plm: PLM, method: str, seeds: int
) -> list[Evaluation]:
    """Return the evaluations of one method's runs; without training one run says it all."""
    trained = METHODS[method].trained != "nothing"
    settings = TrainSettings(method=method, seeds=seeds if trained else 1)
    cache_root = Path(workspace.cache)
    selection = select(cache_root, dataset, settings.split, settings.inputs)
    folders = start_runs(selection, Path(workspace.runs), plm, settings)
    finish_runs(folders, cache_root, plm, checkpoint_every=settings.checkpoint_every)
    return [evaluate_run(one, cache_root, plm, EvalSettings(), quiet=True) for one in folders]


def comparison(dataset: str, found: Mapping[str, Sequence[Evaluation]]) -> Table:
    """Return the methods' figures over seeds, then the trivial answers'."""
    first = next(iter(found.values()))[0]
    if first.metrics is None:
        raise ValueError(f"split {first.split!r} of {dataset} has no answers")
    columns = first.metrics.columns
    results = {
        name: [one.metrics.values for one in evaluations if one.metrics is not None]
        for name, evaluations in found.items()
    }
    trivial = {name: [one.values] for name, one in first.trivial.items()}
    examples = found["promptfuse"][0].record.train_examples
    title = (
        f"{dataset}: {examples} training examples, {first.metrics.examples} of {first.split!r}, "
        "in percent"
    )
    return seeds_table(title, {**results, **trivial}, columns)
