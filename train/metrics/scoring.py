"""The scorer of each task, and the one function that everything else calls."""

from collections.abc import Callable, Sequence

from ...errors import MetricError, UnknownName
from .classification import score_labels
from .result import ExampleSource, Metrics, ScoredExample, ScoreRules
from .text import score_text
from .vqa import score_vqa

Scorer = Callable[[Sequence[str], Sequence[ScoredExample], ScoreRules], Metrics]

METRICS: dict[str, Scorer] = {"vqa": score_vqa, "label": score_labels, "text": score_text}


def score(
    task: str,
    predictions: Sequence[str],
    examples: ExampleSource,
    *,
    positive: str | None = None,
) -> Metrics:
    """Return the task's metrics for one prediction an example, in the examples' order.

    Args:
        task: A key of `METRICS`.
        predictions: The answers to score.
        examples: What they answer, with the true answers.
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
    return METRICS[task](predictions, rows, ScoreRules(positive=positive))
