"""Commands to type that would help a run, such as one no better than a constant answer."""

from ..cache.examples import DatasetInfo
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
        command = training_command(workspace, record, "promptfuse")
        return f"it sees too little on purpose; try: {command}"
    unread = [name for name in info.modalities if name not in record.features]
    reasons: list[str] = []
    commands: list[str] = []
    if unread and workspace.data_of(record.dataset) is not None:
        reasons.append(f"{' and '.join(unread)} too")
        commands.append(f"pfcli extract --dataset {info.name} --modality all")
    if settings.shots is not None:
        total = info.splits.get(settings.split)
        reasons.append("all training examples" if total is None else f"all {total} examples")
    if not reasons:
        command = training_command(workspace, record, name="sweep", option=" --set {}={}")
        rates = "--set dev=64 --set lr_prompt=0.005,0.05,0.5 --split dev"
        return f"other rates may help: {command} {rates}"
    commands += [training_command(workspace, record), "pfcli eval"]
    return f"with {', and '.join(reasons)}: {' && '.join(commands)}"


def training_command(
    workspace: Workspace,
    record: RunRecord,
    method: str | None = None,
    *,
    name: str = "train",
    option: str = " --{} {}",
    **said: object,
) -> str:
    """Return what trains a method as a run was, on all that there is but for what is `said`."""
    settings = record.settings
    unusual = settings.plm != workspace.row(record.dataset).plm_for()
    values = {"plm": settings.plm if unusual else None, "fold": settings.fold, **said}
    options = [
        option.format(key.replace("_", "-"), value)
        for key, value in values.items()
        if value is not None
    ]
    start = f"pfcli {name} --dataset {record.dataset} --method {method or settings.method}"
    return start + "".join(options)
