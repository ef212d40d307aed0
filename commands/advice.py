"""Commands to type that would help a run, such as one no better than a constant answer."""

from ..cache.examples import DatasetInfo
from ..library import to_type
from ..library.workspace import Workspace
from ..train.evaluate import Evaluation
from ..train.record import RunRecord

CONTROLS = ("noprompt", "blackimage")
"""Methods that see too little on purpose."""


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
