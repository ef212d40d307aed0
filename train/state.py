"""A run while it trains: what it is to do, and everything that a step changes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
import torch
from torch.nn.functional import pad

from ..errors import RunError, TrainingDiverged
from .fusion.parameters import PROMPT_PRESENT, Parameters
from .settings import RunSettings

_RATES = ("--lr-prompt", "--lr-other")  # of the optimiser's groups


@dataclass(frozen=True, slots=True)
class RunPlan:
    """What makes one run differ from those beside it: its examples, their order, and how many.

    Attributes:
        seed: Of the order.
        indices: The places of its examples.
        batch_size: Of them, a step.
        steps: In all.
    """

    seed: int
    indices: np.ndarray
    batch_size: int
    steps: int


@dataclass
class TrainState:
    """Everything that a step changes; saved and restored, training goes on to the same bits.

    The parameters are one run's, float32, without the axis R; the losses are each step's.
    """

    parameters: dict[str, torch.nn.Parameter]
    optimizer: torch.optim.Adam
    step: int = 0
    losses: list[float] = field(default_factory=list)

    @classmethod
    def start(cls, parameters: Parameters, settings: RunSettings) -> Self:
        """Return the state before the first step; the prompt has a learning rate of its own."""
        trained = {name: torch.nn.Parameter(start.clone()) for name, start in parameters.items()}
        others = [weight for name, weight in trained.items() if name != "prompt"]
        groups = [{"params": [trained["prompt"]], "lr": settings.lr_prompt}]
        groups += [{"params": others, "lr": settings.lr_other}] if others else []
        return cls(trained, torch.optim.Adam(groups))


@dataclass
class Run:
    """One run in progress, with rates, moments, steps and losses of its own.

    Attributes:
        error: What ended it before its last step.
    """

    plan: RunPlan
    state: TrainState
    error: RunError | None = None

    @property
    def left(self) -> int:
        """How many steps it has yet to take."""
        return 0 if self.error else self.plan.steps - self.state.step

    @property
    def size(self) -> tuple[int, int]:
        """What decides how long its step takes: its examples a step, and its prompt's length."""
        return self.plan.batch_size, len(self.state.parameters["prompt"])

    def update(self) -> None:
        """Change the parameters by their gradients."""
        try:
            self.state.optimizer.step()
        except RuntimeError as error:
            if "overflow" not in str(error):  # of the rate, as Adam corrects it
                raise
            told, lower = self._rates()
            message = f"step {self.state.step + 1} overflows with {told}; {lower}"
            self.error = TrainingDiverged(message)

    def note(self, loss: float) -> None:
        """Count a step that was taken; a loss that is no finite number ends the run."""
        if self.error is None and not math.isfinite(loss):
            told, lower = self._rates()
            self.error = TrainingDiverged(
                f"the loss of the run with seed {self.plan.seed} is {loss} at step "
                f"{self.state.step + 1}, with {told}; {lower}, or look for broken features: "
                "pfcli verify"
            )
        if self.error is None:
            self.state.step += 1
            self.state.losses.append(loss)

    def _rates(self) -> tuple[str, str]:
        """Return the learning rates as options, and which to lower."""
        rates = {
            option: group["lr"]
            for option, group in zip(_RATES, self.state.optimizer.param_groups, strict=False)
            if any(weight.numel() for weight in group["params"])
        }
        told = " and ".join(f"{option} {rate:g}" for option, rate in rates.items())
        return told or "nothing trained", f"lower {' or '.join(rates) or 'nothing'}"


def stacked(runs: Sequence[Run]) -> dict[str, torch.Tensor]:
    """Return the parameters of R runs, each [R, …], through which gradients reach each run's own.

    Shorter prompts are padded behind with zeros, and it is said which vectors are real.
    """
    own = [run.state.parameters for run in runs]
    lengths = [len(parameters["prompt"]) for parameters in own]
    longest = max(lengths)
    together = {
        name: torch.stack([parameters[name] for parameters in own])
        for name in own[0]
        if name != "prompt"
    }
    prompts = [
        pad(parameters["prompt"], (0, 0, 0, longest - length))
        for parameters, length in zip(own, lengths, strict=True)
    ]
    together["prompt"] = torch.stack(prompts)
    if min(lengths) < longest:
        places = torch.arange(longest)
        present = torch.stack([places < length for length in lengths])
        together[PROMPT_PRESENT] = present.to(together["prompt"].device)
    return together
