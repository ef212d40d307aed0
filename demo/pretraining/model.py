"""What the demo's three models have in common, so that one loop trains them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn

HIDDEN = 128
SHIPPED = Path(__file__).parents[1] / "models"


@dataclass(frozen=True)
class Schedule:
    """How a model is trained: a warm-up, then a straight line down to `floor` times the peak."""

    steps: int
    peak_lr: float
    warmup_steps: int
    weight_decay: float
    report_every: int
    floor: float = 0.02
    stop_after: int | None = None


@dataclass(frozen=True)
class Model:
    """A model in training, with the processor that is saved beside it; its heads are not saved.

    `loss` takes a step and the progress from 0 to 1 and returns the loss of a batch, [] float32;
    `scores` returns accuracies on held-out examples, in percent.
    """

    schedule: Schedule
    model: Any
    processor: Any
    loss: Callable[[int, float], Tensor]
    scores: Callable[[], dict[str, float]]
    heads: nn.Module = field(default_factory=nn.Module)


def accuracy(logits: Tensor, classes: Tensor) -> float:
    """Return how often the largest of logits [N, C] is the class [N] int64, in percent."""
    return 100 * (logits.argmax(1) == classes).float().mean().item()
