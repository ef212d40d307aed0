"""The methods that are explained side by side: a run's own, and its sisters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from ...errors import RunError
from ..fusion.methods import METHODS, Fusion
from ..fusion.parameters import Parameters
from ..plm.frozen import PLM
from ..record import PROMPT, RunRecord, read_record
from ..runs.folders import run_folders
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
    """Return if a run's answers rest on media through an encoder that is still there.

    Raises:
        RunError: If they do not.
    """
    method = METHODS[record.settings.method]
    if method.blank:
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
    names = dict.fromkeys((*SIDE_BY_SIDE, own))
    for name in names:
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
    wanted = _alike(record)
    for folder in reversed(run_folders(runs_root)):
        other = read_record(folder)
        plain = method in METHODS and other.settings.visibility == METHODS[method].visibility
        finished = (folder / PROMPT).is_file()
        if other.settings.method == method and plain and finished and _alike(other) == wanted:
            return folder
    return None


def _alike(record: RunRecord) -> Mapping[str, Any]:
    """Return what two runs share that can stand side by side."""
    settings = record.settings
    return {
        "dataset": (record.dataset, settings.fold, record.fold_draw, record.dev_ids),
        "features": record.features,
        "plm": record.plm.get("weights_sha256"),
        "shots": (settings.shots, settings.shot_sampling if settings.shots else None),
        "seeds": (settings.seed, settings.data_seed if settings.shots else None),
        "input": (settings.width_fix, settings.pool),
    }
