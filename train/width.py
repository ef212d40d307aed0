"""How many runs share a pass: measured on the first steps, within what memory holds."""

from collections.abc import Callable, Iterable, Sequence

import torch

from ..memory import free_bytes
from .state import Run

Train = Callable[[Sequence[Run], int], float]
"""Takes at most so many steps of runs side by side; returns the seconds of one."""

_BETTER = 0.97  # of the next narrower pass: what gains less is noise, and takes more memory
_SPARE = 2.0  # of the tensors kept for the backward pass: it has others in hand


def measured_width(
    left: Callable[[], Sequence[Run]], train: Train, model: torch.nn.Module, *, steps: int
) -> tuple[int, str]:
    """Return how many of the runs that are `left` to train at a time, and why, in one line.

    Passes of 1, 2, 4, … runs each take `steps` real steps, as long as a run's share of a step
    becomes shorter and memory holds them. A run's own time is measured once a size.
    """
    alone: dict[tuple[int, int], float] = {}
    weights = list(model.parameters())
    needed = _SPARE * kept_bytes(lambda: train(left()[:1], 1), weights)  # the first is the largest
    fitting = int(free_bytes(weights[0].device) / max(needed, 1))
    best, least, width, said = 1, 1.0, 1, list[str]()
    while width < (most := min(fitting, len(left()))):
        width = min(2 * width, most)
        for run in left()[:width]:
            if run.size not in alone:
                alone[run.size] = train([run], steps)
        beside = left()[:width]
        one_by_one = sum(alone.get(run.size, 0.0) for run in beside)
        if len(beside) < width or not one_by_one:
            break  # some came to their end meanwhile
        share = train(beside, steps) / one_by_one
        said.append(f"{width} at a time take {share:.2f} of one by one")
        if share > _BETTER * least:
            break
        best, least = width, share
    return best, f"{best} {'runs' if best > 1 else 'run'} at a time: {', '.join(said) or 'no more'}"


def kept_bytes(step: Callable[[], object], weights: Iterable[torch.Tensor]) -> int:
    """Return the bytes that a step keeps for its backward pass, beside a model's weights."""
    there = {weight.untyped_storage().data_ptr() for weight in weights}
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in there:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        step()
    return sum(kept.values())
