"""The metrics of each task, and the one function that everything else calls."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from ...errors import MetricError, UnknownName
from .classification import label_accuracy, positive_label, weighted_labels
from .result import Metric, Metrics
from .text import exact_matches
from .vqa import always_normalised, official

if TYPE_CHECKING:
    from ...cache.examples import Example

METRICS: dict[str, tuple[Metric, ...]] = {
    "vqa": (official, always_normalised),
    "label": (positive_label, label_accuracy, weighted_labels),
    "text": (exact_matches,),
}
"""A metric is one function of a module of its own and one entry here; the first one leads."""


def score(
    task: str,
    predictions: Sequence[str],
    examples: Iterable[Example],
    *,
    positive: str | None = None,
) -> Metrics:
    """Return the figures of all of a task's metrics for one prediction an example.

    Args:
        task: A key of `METRICS`.
        predictions: In the order of `examples`, which hold the true answers.
        examples: What was answered.
        positive: For ``label`` tasks, the label to report precision, recall and F1 of.

    Raises:
        UnknownName: The task has no metric.
        MetricError: The lengths differ, there is nothing to score, or an example has no answer.
    """
    if task not in METRICS:
        raise UnknownName("task", task, list(METRICS))
    rows = list(examples)
    if len(predictions) != len(rows):
        raise MetricError(f"{len(predictions)} predictions for {len(rows)} examples")
    if not rows:
        raise MetricError("no examples to score: the split is empty")
    parts = [metric(predictions, rows, positive) for metric in METRICS[task]]
    return Metrics.joined([part for part in parts if part is not None], examples=len(rows))
