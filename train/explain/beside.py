"""The methods that are explained side by side: a run's own, and its sisters."""

from dataclasses import dataclass, replace
from pathlib import Path

import torch

from ...errors import RunError
from ..fusion.methods import METHODS, Fusion
from ..fusion.parameters import Parameters
from ..plm.frozen import PLM
from ..record import PROMPT, RunRecord, deciding, read_record
from ..runs.folders import run_folders
from ..settings import idle
from ..trained import load_prompt

SIDE_BY_SIDE = ("noprompt", "promptfuse", "blindprompt")
"""Always shown, beside the run's own method. Source: table 3."""


@dataclass(frozen=True)
class MethodRun:
    """A method as it answers.

    Attributes:
        run: The run that trained it; None where nothing is trained.
        parameters: What was trained, each [1, …] float32.
    """

    run: str | None
    fusion: Fusion
    parameters: Parameters

    @property
    def method(self) -> str:
        """The method's name."""
        return self.fusion.method.name


def require_explainable(record: RunRecord) -> None:
    """Return if a run's answers rest on media through an encoder that is still there."""
    method = METHODS[record.settings.method]
    if method.media == "blank":
        raise RunError(
            f"run {record.name} was shown a black image and silence whatever the example, so "
            "nothing of its media can be explained; explain a promptfuse run"
        )
    if method.live:
        raise RunError(
            f"run {record.name} is of {method.name}, whose encoder is not the one that made the "
            "cached features; explain a run with a frozen encoder, such as promptfuse"
        )


def methods_beside(folder: Path, plm: PLM) -> tuple[list[MethodRun], list[str]]:
    """Return a run's method and those beside it as they are shown, and those that have no run."""
    record = read_record(folder)
    methods: list[MethodRun] = []
    missing: list[str] = []
    own = record.settings.method
    for name in dict.fromkeys((*SIDE_BY_SIDE, own)):
        sister = folder if name == own else _sister(record, name, folder.parent)
        if sister is not None:
            prompt = load_prompt(sister)
            methods.append(MethodRun(sister.name, prompt.fusion, prompt.batched(plm.device)))
        elif name == "noprompt":  # it would have trained nothing
            fusion = replace(Fusion.of(name), pool=record.settings.pool)
            nothing = torch.zeros(1, 0, plm.hidden_size, device=plm.device)
            methods.append(MethodRun(None, fusion, {"prompt": nothing}))
        else:
            missing.append(name)
    return methods, missing


def _sister(record: RunRecord, method: str, runs_root: Path) -> Path | None:
    """Return the latest finished run of another method that is otherwise alike."""
    for folder in reversed(run_folders(runs_root)):
        other = read_record(folder)
        finished = (folder / PROMPT).is_file()
        if other.settings.method == method and finished and alike(record, other):
            return folder
    return None


def alike(record: RunRecord, other: RunRecord) -> bool:
    """Return whether a run differs from another in its method, as it usually is, alone."""
    methods = (record.settings.method, other.settings.method)
    passed_over = {"method", "preset", "visibility"}.union(*map(idle, methods))
    wanted, given = (
        {name: value for name, value in deciding(each).items() if name not in passed_over}
        | {"dataset": each.dataset, "folds": each.fold_draw}
        for each in (record, other)
    )
    if wanted != given or other.settings.visibility != METHODS[methods[1]].visibility:
        return False
    if not all(METHODS[method].trains for method in methods):
        return True
    same_seed = record.settings.seed == other.settings.seed
    return same_seed and record.examples_sha256 == other.examples_sha256
