"""The training loop: R runs that share a frozen language model, in one forward pass.

A single run is R = 1. Runs differ in data (their examples and their order, their number of steps,
rates and lengths), not in code; the losses are summed over runs, so that no run's gradient reaches
another's prompt.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from time import perf_counter

import numpy as np
import torch

from ..cache.examples import ExampleTable
from ..errors import OutOfMemory
from ..memory import shortage_explained
from .data.batches import FusionData
from .data.tokens import Ids
from .fusion.parameters import Parameters
from .plm.frozen import PLM, Encoded
from .plm.prefix import Prefix
from .segments import fuse_segments
from .state import Run, RunPlan, stacked
from .width import measured_width

_READ_EVERY = 8  # steps, on a GPU: reading a loss waits for all that was begun before

OnStep = Callable[[Sequence[Run]], object]
"""Told of the runs in a pass whenever their losses were read."""


@dataclass(frozen=True)
class Task:
    """The label words in order, none where answers are free text, and each example's target.

    A target is a label's index, or an answer's token ids.
    """

    labels: tuple[str, ...]
    answers: list[int] | Ids


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


def batch_of(plan: RunPlan, step: int) -> np.ndarray:
    """Return the examples of a run's step: a function of the plan and the step alone.

    Each epoch is a permutation drawn from the seed and the epoch's number, so that a resumed run
    needs no random state.
    """
    size, per_epoch = plan.batch_size, -(-len(plan.indices) // plan.batch_size)
    epoch, position = divmod(step, per_epoch)
    order = _epoch_order(plan.seed, epoch, len(plan.indices))
    return plan.indices[order[position * size : (position + 1) * size]]


@lru_cache(maxsize=64)  # one entry a run that trains side by side
def _epoch_order(seed: int, epoch: int, count: int) -> np.ndarray:
    return np.random.default_rng([seed, epoch]).permutation(count)


def train(
    plm: PLM,
    data: FusionData,
    task: Task,
    runs: Sequence[Run],
    *,
    on_step: OnStep,
    announce: Callable[[str], object] | None = None,
) -> None:
    """Take the steps that are left of each run; one that diverges ends with its error, alone.

    All runs train side by side or, where there is something to `announce`, as many at a time as
    measuring says pay; half as many where memory runs out. Passes are of one batch size, the
    longest prompts first.
    """
    most, widths = len(runs), dict[int, int]()

    def left(batch_size: int | None = None) -> list[Run]:
        going = sorted((run for run in runs if run.left), key=lambda run: run.size, reverse=True)
        size = batch_size or (going[0].plan.batch_size if going else 0)
        return [run for run in going if run.plan.batch_size == size]

    def steps_of(beside: Sequence[Run], steps: int) -> float:
        nonlocal most
        try:
            return _stretch(plm, data, task, beside, steps, on_step)
        except OutOfMemory:
            if len(beside) == 1:
                raise
        if plm.device.type == "cuda":
            torch.cuda.empty_cache()
        most = len(beside) // 2
        return float("inf")

    while beside := left():
        size = beside[0].plan.batch_size
        if announce is not None and size not in widths and len(beside) > 1:
            widths[size], said = measured_width(
                partial(left, size), steps_of, plm.model, steps=2 * _read_every(plm)
            )
            announce(f"{len(beside)} runs of {size} examples a step: {said}")
            continue
        steps_of(beside[: min(most, widths.get(size, most))], max(run.left for run in beside))


def _read_every(plm: PLM) -> int:
    return _READ_EVERY if plm.device.type == "cuda" else 1


def _stretch(
    plm: PLM, data: FusionData, task: Task, runs: Sequence[Run], steps: int, on_step: OnStep
) -> float:
    """Take at most so many steps of runs side by side; return the seconds of the fastest.

    It ends when the first run does, by its last step or by its error.
    """
    steps = min(steps, *(run.left for run in runs))
    doing = f"{len(runs)} runs of {runs[0].plan.batch_size} examples a step"
    fastest, began, unread = float("inf"), perf_counter(), list[torch.Tensor]()
    for number, indices in enumerate(data.ahead(_orders(runs, steps)), start=1):
        try:
            with shortage_explained(doing, lower="lower --batch-size or --seeds"):
                losses = _gradients(plm, data, task, runs, indices, _real(runs, len(unread)))
        except OutOfMemory:
            _read(runs, unread)  # those steps were taken
            raise
        for run in runs:
            run.update()
        unread.append(losses)
        if len(unread) < _read_every(plm) and number < steps:
            continue
        _read(runs, unread)
        fastest = min(fastest, (perf_counter() - began) / len(unread))
        on_step(runs)
        if any(run.error for run in runs):
            break
        began, unread = perf_counter(), []
    return fastest


def _orders(runs: Sequence[Run], steps: int) -> Iterator[np.ndarray]:
    """Yield the examples of each step [R * B], grouped by run.

    A batch that is shorter than another's is filled with examples of its own.
    """
    starts = [run.state.step for run in runs]
    for ahead in range(steps):
        pairs = zip(runs, starts, strict=True)
        batches = [batch_of(run.plan, start + ahead) for run, start in pairs]
        longest = max(map(len, batches))
        yield np.concatenate([np.resize(batch, longest) for batch in batches])


def _real(runs: Sequence[Run], ahead: int) -> torch.Tensor | None:
    """Return which rows of the step after `ahead` more are no filling, [R, B] bool; None if all."""
    sizes = torch.tensor([len(batch_of(run.plan, run.state.step + ahead)) for run in runs])
    longest = int(sizes.max())
    return None if int(sizes.min()) == longest else torch.arange(longest) < sizes[:, None]


def _gradients(
    plm: PLM,
    data: FusionData,
    task: Task,
    runs: Sequence[Run],
    indices: np.ndarray,
    real: torch.Tensor | None,
) -> torch.Tensor:
    """Return each run's loss [R], having left its gradients with its parameters."""
    for run in runs:
        run.state.optimizer.zero_grad(set_to_none=True)
    losses = run_losses(plm, data, task, stacked(runs), indices, real)
    losses.sum().backward()
    return losses.detach()


def _read(runs: Sequence[Run], unread: Sequence[torch.Tensor]) -> None:
    for losses in torch.stack(list(unread)).tolist() if unread else ():
        for run, loss in zip(runs, losses, strict=True):
            run.note(loss)


def run_losses(
    plm: PLM,
    data: FusionData,
    task: Task,
    parameters: Parameters,
    indices: np.ndarray,
    real: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return each run's mean cross-entropy [R] over its part of the batch (rows grouped by run).

    Rows that are not `real` [R, B] bool do not count; None says that all are.

    Source: section 3.2; the mean is over the answers' tokens, padding not counted.
    """
    runs = parameters["prompt"].shape[0]
    encoded = fuse(plm, data, parameters, indices)
    if task.labels:
        labels = np.array([task.answers[index] for index in indices], dtype=np.int64)
        targets = plm.on_device(labels)
        logits = plm.label_logits(encoded, plm.label_ids(task.labels))
        sums = torch.nn.functional.cross_entropy(logits, targets, reduction="none")
        counts = torch.ones_like(targets)
    else:
        answers: list[np.ndarray] = [task.answers[index] for index in indices]  # pyright: ignore[reportAssignmentType]
        sums, counts = plm.answer_loss(encoded, answers)
    sums, counts = sums.view(runs, -1), counts.view(runs, -1)
    if real is not None:
        weights = plm.on_device(real.numpy())
        sums, counts = sums * weights, counts * weights
    return sums.sum(dim=1) / counts.sum(dim=1)


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
