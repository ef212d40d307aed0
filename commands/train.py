"""`pfcli train` and `pfcli eval`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..config import Workspace
from ..defaults import dataset_in_cache, plm_for
from ..errors import RunError
from ..tables import Table
from ..train.evaluate import Evaluation, evaluate_run
from ..train.fusion.methods import METHODS, method_named
from ..train.job import finish_runs, start_runs
from ..train.plm import load_plm
from ..train.plm.protocol import PLM
from ..train.runs import PROMPT, RunRecord, find_run, read_record
from ..train.selection import select
from ..train.settings import EvalSettings, TrainSettings
from ..extract.reopen import live_encoders

_SMALL_MODEL_PARAMETERS = 10_000_000


def run_training(workspace: Workspace, settings: TrainSettings) -> list[Path]:
    """Train new runs and print where they are; return their folders."""
    method_named(settings.method)
    dataset = dataset_in_cache(workspace)
    selection = select(Path(workspace.cache), dataset, settings.split, settings.inputs)
    plm = load(
        plm_for(dataset, settings.plm), settings.plm_dtype, settings.device, settings.threads
    )
    live = live_encoders(settings.device)
    folders = start_runs(selection, Path(workspace.runs), plm, settings, live=live)
    print(describe(read_record(folders[0])))
    _finish(folders, workspace, plm, settings)
    return folders


def resume_training(workspace: Workspace, run: str, settings: TrainSettings) -> list[Path]:
    """Train an interrupted run (and those beside it) to the end; return their folders."""
    folder = find_run(Path(workspace.runs), run)
    record = read_record(folder)
    if (folder / PROMPT).is_file():
        raise RunError(f"{folder} is finished; next: pfcli eval {folder.name}")
    folders = [folder.parent / name for name in record.group]
    plm = load(str(record.plm["source"]), record.plm_dtype, settings.device, settings.threads)
    print(describe(record))
    _finish(folders, workspace, plm, settings)
    return folders


def _finish(
    folders: Sequence[Path], workspace: Workspace, plm: PLM, settings: TrainSettings
) -> None:
    finish_runs(
        folders,
        Path(workspace.cache),
        plm,
        checkpoint_every=settings.checkpoint_every,
        live=live_encoders(settings.device),
    )
    for folder in folders:
        print(f"wrote {folder}")


def run_evaluation(workspace: Workspace, run: str | None, settings: EvalSettings) -> Evaluation:
    """Evaluate one run, print its table; return what was found."""
    folder = find_run(Path(workspace.runs), run)
    record = read_record(folder)
    plm = load(str(record.plm["source"]), record.plm_dtype, settings.device, settings.threads)
    live = live_encoders(settings.device)
    found = evaluate_run(folder, Path(workspace.cache), plm, settings, live=live)
    print(f"{folder.name} on {record.dataset}'s split {found.split!r}")
    if found.metrics is None:
        print("the split has no answers, so there is nothing to score")
    else:
        print(results_table(found).text())
    if found.substituted:
        print(f"{found.substituted} examples lack a medium: a blank stood in its place")
    if found.unanswerable:
        print(f"{found.unanswerable} examples left out: {record.plm['family']} cannot answer them")
    print(f"wrote {found.folder}")
    return found


def load(source: str, dtype: str, device: str, threads: int | None) -> PLM:
    """Return the language model, after settling torch's threads.

    A small model's products are too short to divide: beside another busy program, two threads
    took eight times the processor time of one.
    """
    import torch

    plm = load_plm(source, dtype=dtype, device=device)
    if threads is None and plm.identity["parameters"] < _SMALL_MODEL_PARAMETERS:
        threads = 1
    if threads is not None:
        torch.set_num_threads(threads)
    return plm


def describe(record: RunRecord) -> str:
    """Return what is about to be trained, in one line."""
    modalities = " + ".join([*record.features, "text"])
    trained = METHODS[record.method].trained
    layers = trained == "layer" or record.prompt_encoder != "none" or record.train_norms
    rates = [f"lr {record.lr_prompt:g}"] if record.prompt_length else []
    rates += [f"lr {record.lr_other:g} for layers"] if layers else []
    rates += [f"lr {record.lr_other:g} for encoders"] if trained == "encoder" else []
    return (
        f"{record.method} on {record.dataset} ({modalities}), {record.train_examples} examples, "
        f"{record.trainable_parameters:,} trainable parameters, {record.steps} steps of "
        f"{', '.join([str(record.batch_size), *rates])} (preset {record.preset})"
        + (f"; {record.dropped_examples} examples lack features" if record.dropped_examples else "")
        + (
            f"; {record.unanswerable_examples} that {record.plm['family']} cannot answer left out"
            if record.unanswerable_examples
            else ""
        )
    )


def results_table(found: Evaluation) -> Table:
    """Return a run's figures beside the trivial answers'."""
    if found.metrics is None:
        raise RunError(f"{found.record.name} has no figures on split {found.split!r}")
    columns: Sequence[str] = list(found.metrics.values)
    rows = [[found.record.method, *(found.metrics.values[name] for name in columns)]]
    rows += [
        [name, *(trivial.values.get(column) for column in columns)]
        for name, trivial in found.trivial.items()
    ]
    title = f"{found.record.dataset} {found.split}, {found.metrics.examples} examples, in percent"
    return Table(title, ["", *(name.replace("_", " ") for name in columns)], rows)
