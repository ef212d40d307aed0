"""The training loop: R runs that share a frozen language model, in one forward pass.

A single run is R = 1. Runs differ in data (their examples, their seed), not in code; the losses
are summed over runs, so that no run's gradient reaches another's prompt.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Self

import numpy as np
import torch

from ..cache.examples import ExampleTable
from ..errors import TrainingDiverged
from .data.batches import FusionData
from .data.tokens import Ids
from .fusion.parameters import Parameters
from .plm.frozen import PLM, Encoded
from .plm.prefix import Prefix
from .segments import fuse_segments
from .settings import RunSettings

_RATES = ("--lr-prompt", "--lr-other")  # of the optimiser's groups


@dataclass(frozen=True)
class Task:
    """The label words in order, none where answers are free text, and each example's target.

    A target is a label's index, or an answer's token ids.
    """

    labels: tuple[str, ...]
    answers: list[int] | Ids


@dataclass(frozen=True, slots=True)
class RunPlan:
    """What makes one run differ from those beside it: the order and the places of its examples."""

    seed: int
    indices: np.ndarray


@dataclass
class TrainState:
    """Everything that a step changes; saved and restored, training goes on to the same bits.

    The parameters are each [R, …] float32; the losses are each step's, one a run.
    """

    parameters: dict[str, torch.nn.Parameter]
    optimizer: torch.optim.Adam
    step: int = 0
    losses: list[list[float]] = field(default_factory=list)

    @classmethod
    def start(cls, parameters: Parameters, settings: RunSettings) -> Self:
        """Return the state before the first step; the prompt has a learning rate of its own."""
        trained = {name: torch.nn.Parameter(start.clone()) for name, start in parameters.items()}
        others = [weight for name, weight in trained.items() if name != "prompt"]
        groups = [{"params": [trained["prompt"]], "lr": settings.lr_prompt}]
        groups += [{"params": others, "lr": settings.lr_other}] if others else []
        return cls(trained, torch.optim.Adam(groups))


def task_for(plm: PLM, labels: Sequence[str], table: ExampleTable) -> Task:
    """Return a split's task: labels read by a verbaliser, or free text if there are none."""
    answers, places = table.distinct("answer")
    if labels:
        index = {label: position for position, label in enumerate(labels)}
        targets = np.array([index.get(answer or "", -1) for answer in answers])
        return Task(tuple(labels), targets[places].tolist())
    return Task((), Ids.of(plm.tokenise_answers([answer or "" for answer in answers]), places))


def steps_in_all(examples: int, *, batch_size: int, epochs: int, max_steps: int | None) -> int:
    """Return how many steps `epochs` passes over the examples take, at most `max_steps`."""
    steps = -(-examples // batch_size) * epochs
    return steps if max_steps is None else min(steps, max_steps)


def batch_of(plan: RunPlan, step: int, *, batch_size: int) -> np.ndarray:
    """Return the examples of a run's step: a function of the plan and the step alone.

    Each epoch is a permutation drawn from the seed and the epoch's number, so that a resumed run
    needs no random state.
    """
    per_epoch = -(-len(plan.indices) // batch_size)
    epoch, position = divmod(step, per_epoch)
    order = _epoch_order(plan.seed, epoch, len(plan.indices))
    return plan.indices[order[position * batch_size : (position + 1) * batch_size]]


@lru_cache(maxsize=64)  # one entry a run that trains side by side
def _epoch_order(seed: int, epoch: int, count: int) -> np.ndarray:
    return np.random.default_rng([seed, epoch]).permutation(count)


def train(
    plm: PLM,
    data: FusionData,
    task: Task,
    plans: Sequence[RunPlan],
    state: TrainState,
    *,
    batch_size: int,
    steps: int,
    on_step: Callable[[TrainState], None],
) -> None:
    """Take the steps that are left, calling `on_step` after each.

    The R runs have equally many examples, of which each takes `batch_size` a step; the state is
    changed in place until it has `steps`, counted from the very first. A run whose loss is no
    longer a finite number ends the training of all.
    """
    orders = (
        np.concatenate([batch_of(plan, step, batch_size=batch_size) for plan in plans])
        for step in range(state.step, steps)
    )
    for indices in data.ahead(orders):
        losses = run_losses(plm, data, task, state.parameters, indices)
        _require_finite(losses, plans, state)
        state.optimizer.zero_grad(set_to_none=True)
        losses.sum().backward()
        try:
            state.optimizer.step()
        except RuntimeError as error:
            if "overflow" not in str(error):  # of the rate, as Adam corrects it
                raise
            told, lower = _rates(state)
            message = f"step {state.step + 1} overflows with {told}; {lower}"
            raise TrainingDiverged(message) from error
        state.step += 1
        state.losses.append(losses.detach().tolist())
        on_step(state)


def _rates(state: TrainState) -> tuple[str, str]:
    """Return the learning rates as options, and which to lower."""
    rates = {
        option: group["lr"]
        for option, group in zip(_RATES, state.optimizer.param_groups, strict=False)
        if any(weight.numel() for weight in group["params"])
    }
    told = " and ".join(f"{option} {rate:g}" for option, rate in rates.items())
    return told or "nothing trained", f"lower {' or '.join(rates) or 'nothing'}"


def _require_finite(losses: torch.Tensor, plans: Sequence[RunPlan], state: TrainState) -> None:
    for plan, loss in zip(plans, losses.tolist(), strict=True):
        if not math.isfinite(loss):
            told, lower = _rates(state)
            raise TrainingDiverged(
                f"the loss of the run with seed {plan.seed} is {loss} at step {state.step + 1}, "
                f"with {told}; {lower}, or look for broken features: pfcli verify"
            )


def run_losses(
    plm: PLM, data: FusionData, task: Task, parameters: Parameters, indices: np.ndarray
) -> torch.Tensor:
    """Return each run's mean cross-entropy [R] over its part of the batch (rows grouped by run).

    Source: section 3.2; the mean is over the answers' tokens, padding not counted.
    """
    runs = parameters["prompt"].shape[0]
    encoded = fuse(plm, data, parameters, indices)
    if task.labels:
        targets = torch.tensor([task.answers[index] for index in indices], device=plm.device)
        logits = plm.label_logits(encoded, plm.label_ids(task.labels))
        losses = torch.nn.functional.cross_entropy(logits, targets, reduction="none")
        return losses.view(runs, -1).mean(dim=1)
    answers: list[np.ndarray] = [task.answers[index] for index in indices]  # pyright: ignore[reportAssignmentType]
    sums, counts = plm.answer_loss(encoded, answers)
    return sums.view(runs, -1).sum(dim=1) / counts.view(runs, -1).sum(dim=1)


def fuse(
    plm: PLM,
    data: FusionData,
    parameters: Parameters,
    indices: Sequence[int] | np.ndarray,
    prefix: Prefix | None = None,
) -> Encoded:
    """Return what the language model makes of the N examples at `indices`, grouped by run.

    A prefix is what `lent_prompt` gives of the parameters.
    """
    return fuse_segments(plm, data.fusion, parameters, data.segments(indices, parameters), prefix)
