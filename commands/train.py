"""`pfcli train` and `pfcli eval`, which says what would help a run no better than a constant."""

from collections.abc import Mapping, Sequence
from typing import Any

from ..cache.examples import DatasetInfo, read_dataset
from ..errors import RunError
from ..library import to_type
from ..library.training import open_run, train
from ..library.workspace import Workspace
from ..stopping import stopping
from ..tables import Table
from ..train.evaluate import Evaluation
from ..train.record import RunRecord
from ..train.settings import EvalSettings, TrainSettings

CONTROLS = ("noprompt", "blackimage")
"""Methods that see too little on purpose."""


def run_training(
    workspace: Workspace, settings: TrainSettings, resume: str | None, typed: Mapping[str, Any]
) -> None:
    """Train new runs, or interrupted ones to the end, and print where they are.

    The options that were typed of an interrupted run must be its own, but for the machine's.
    """
    with stopping(settings.time_limit) as stop:
        runs = train(
            workspace,
            settings,
            resume=resume,
            typed=typed,
            announce=lambda record: print(describe(record)),
            stop=stop,
        )
    for run in runs:
        print(f"wrote {run.folder}")
    print(f"next: {to_type.evaluation(workspace, runs[0].folder)}")


def run_evaluation(workspace: Workspace, name: str | None, settings: EvalSettings) -> None:
    """Evaluate one run and print its table."""
    run = open_run(workspace, name)
    record = run.record
    evaluation = run.evaluate(quiet=False, **vars(settings))
    print(f"{run.name} on {record.dataset}'s split {evaluation.split!r}")
    if evaluation.metrics is None:
        print("the split has no answers, so there is nothing to score")
    else:
        print(results_table(evaluation).text())
    if evaluation.substituted:
        print(f"{evaluation.substituted} examples lack a medium: a blank stood in its place")
    if evaluation.unanswerable:
        left_out = f"{evaluation.unanswerable} examples left out"
        print(f"{left_out}: {record.plm['family']} cannot answer them")
    print(f"wrote {evaluation.folder}")
    if tip := advice(evaluation, read_dataset(run.cache_root, record.dataset), workspace):
        print(tip)
    other = "promptfuse" if record.settings.method != "promptfuse" else "blindprompt"
    print(f"next: {to_type.training(workspace, record, method=other)}")


def describe(record: RunRecord) -> str:
    """Return what is about to be trained, in one line."""
    modalities = " + ".join([*record.features, "text"])
    settings = record.settings
    method = settings.fusion.method
    layers = method.layer_inputs or settings.prompt_encoder != "none" or settings.train_norms
    rates = [f"lr {settings.lr_prompt:g}"] if settings.prompt_length else []
    rates += [f"lr {settings.lr_other:g} for layers"] if layers else []
    rates += [f"lr {settings.lr_other:g} for encoders"] if method.live else []
    line = (
        f"{settings.method} on {record.dataset} ({modalities}), {record.train_examples} examples, "
        f"{record.trainable_parameters:,} trainable parameters, {record.steps} steps of "
        f"{', '.join([str(settings.batch_size), *rates])} (preset {settings.preset})"
    )
    if record.dropped_examples:
        line += f"; {record.dropped_examples} examples lack features"
    if record.unanswerable_examples:
        unanswerable = f"{record.unanswerable_examples} that {record.plm['family']} cannot answer"
        line += f"; {unanswerable} left out"
    return line


def results_table(evaluation: Evaluation) -> Table:
    """Return a run's figures beside the trivial answers'."""
    if evaluation.metrics is None:
        raise RunError(f"{evaluation.record.name} has no figures on split {evaluation.split!r}")
    columns: Sequence[str] = list(evaluation.metrics.values)
    scores = {evaluation.record.settings.method: evaluation.metrics, **evaluation.trivial}
    rows = [
        [name, *(score.values.get(column) for column in columns)] for name, score in scores.items()
    ]
    scored = f"{evaluation.metrics.examples} examples"
    title = f"{evaluation.record.dataset} {evaluation.split}, {scored}, in percent"
    return Table(title, ["", *(name.replace("_", " ") for name in columns)], rows)


def advice(evaluation: Evaluation, info: DatasetInfo, workspace: Workspace) -> str:
    """Return what to try where a run's headline is not above the best trivial answer's, or ""."""
    metrics, record = evaluation.metrics, evaluation.record
    if metrics is None or not evaluation.trivial:
        return ""
    headline = metrics.headline
    scores = {name: trivial.values[headline] for name, trivial in evaluation.trivial.items()}
    name = max(scores, key=lambda trivial: scores[trivial])
    if metrics.values[headline] > scores[name]:
        return ""
    return (
        f"{record.settings.method} is no better here than the answer {name!r}: {headline} "
        f"{metrics.values[headline]:.2f}, and {scores[name]:.2f} for {name!r}\n"
        f"{_what_helps(record, info, workspace)}"
    )


def _what_helps(record: RunRecord, info: DatasetInfo, workspace: Workspace) -> str:
    settings = record.settings
    if settings.method in CONTROLS:
        command = to_type.training(workspace, record, method="promptfuse", all_shots=True)
        return f"it sees too little on purpose; try: {command}"
    unread = [name for name in info.modalities if name not in record.features]
    reasons: list[str] = []
    commands: list[str] = []
    if unread and workspace.data_of(record.dataset) is not None:
        reasons.append(f"{' and '.join(unread)} too")
        whole = ("--dataset", info.name, "--modality", "all")
        commands.append(to_type.command(workspace, "extract", *whole))
    if settings.shots is not None:
        total = info.splits.get(settings.split)
        reasons.append("all training examples" if total is None else f"all {total} examples")
    if not reasons:
        rates = ("--set", "dev=64", "--set", "lr_prompt=0.005,0.05,0.5", "--split", "dev")
        return f"other rates may help: {to_type.sweeping(workspace, record, *rates)}"
    commands += [
        to_type.training(workspace, record, method=settings.method, all_shots=True),
        to_type.command(workspace, "eval"),
    ]
    return f"with {', and '.join(reasons)}: {' && '.join(commands)}"
