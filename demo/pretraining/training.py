"""The training loop that the demo's three models share."""

import time
from collections.abc import Iterable
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from tqdm import tqdm

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


class Model(Protocol):
    """A model that is pretrained, made from a seed or a folder written before.

    Attributes:
        schedule: As shipped.
        model: What is saved.
        processor: What is saved beside it: an image processor, feature extractor or tokenizer.
    """

    schedule: Schedule
    model: Any
    processor: Any

    def parameters(self) -> Iterable[nn.Parameter]:
        """Return what is trained, heads that are not saved among it."""
        ...

    def loss(self, step: int, progress: float) -> Tensor:
        """Return the loss of a step's batch, [] float32; `progress` runs from 0 to 1."""
        ...

    def scores(self) -> dict[str, float]:
        """Return accuracies on held-out examples, in percent."""
        ...


def pretrain(
    model: Model,
    output: Path,
    *,
    steps: int | None = None,
    minutes: float | None = None,
    stop_after: int | None = None,
) -> None:
    """Train a model and write it to `output`, at every report and at the end.

    Args:
        model: What is trained.
        output: The folder.
        steps: Of the schedule; None takes the model's own.
        minutes: The schedule ends after this time if that comes first.
        stop_after: End at this step of the schedule.
    """
    plan = model.schedule
    steps = steps or plan.steps
    end = min(steps, stop_after or plan.stop_after or steps)
    weights = list(model.parameters())
    optimizer = torch.optim.AdamW(weights, lr=plan.peak_lr, weight_decay=plan.weight_decay)
    started = time.monotonic()
    for step in tqdm(range(end), unit="step"):
        spent = (time.monotonic() - started) / 60
        progress = max(step / steps, spent / minutes if minutes else 0.0)
        warm = min((step + 1) / plan.warmup_steps, 1.0)
        optimizer.param_groups[0]["lr"] = plan.peak_lr * warm * max(1 - progress, plan.floor)
        loss = model.loss(step, progress)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        done = step + 1 == end or progress >= 1
        if done or (step + 1) % plan.report_every == 0:
            scores = {name: f"{score:.0f}" for name, score in model.scores().items()}
            tqdm.write(f"{step + 1} {spent:.1f} min loss {loss.item():.3f} {scores}")
            save(model, output)
        if done:
            break


def save(model: Model, folder: Path) -> None:
    """Write a copy of the model as fp16 safetensors, its config and its processor."""
    folder.mkdir(parents=True, exist_ok=True)
    deepcopy(model.model).half().save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)
    model.processor.save_pretrained(folder)


def accuracy(logits: Tensor, classes: Tensor) -> float:
    """Return how often the largest of logits [N, C] is the class [N] int64, in percent."""
    return 100 * (logits.argmax(1) == classes).float().mean().item()
