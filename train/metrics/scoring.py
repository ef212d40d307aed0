"""The metrics of each task, what scores them, and the answers that need no model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from ...errors import MetricError, UnknownName
from .classification import label_accuracy, positive_label, weighted_labels
from .result import Metric, Metrics
from .text import exact_matches
from .vqa import always_normalised, official

if TYPE_CHECKING:
    from ...cache.examples import DatasetInfo, Example

METRICS: dict[str, tuple[Metric, ...]] = {
    "vqa": (official, always_normalised),
    "label": (positive_label, label_accuracy, weighted_labels),
    "text": (exact_matches,),
}
"""A metric is one function of a module of its own and one entry here; the first one leads."""

MOST_LABELS_LISTED = 8
MAJORITY = " (majority)"
"""Marks the most frequent training answer."""
PER_QUESTION_TYPE = "most frequent per question type"


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


def majority_answer(examples: Iterable[Example], *, order: Sequence[str] = ()) -> str | None:
    """Return the most frequent target answer, or None where no example has one.

    A tie goes to the answer that comes first in `order`, then to the first in the alphabet.
    """
    return _most_frequent(sum(_answers_by_type(examples).values(), Counter()), order)


def trivial_answers(
    info: DatasetInfo, train: Iterable[Example], test: Iterable[Example]
) -> dict[str, Metrics]:
    """Return the metrics of each trivial answer on `test`, by a name such as ``always True``.

    For ``vqa`` these are "yes" and the most frequent training answer; for ``label`` every label
    (up to eight of them) and the training majority; for ``text`` the training majority. The most
    frequent training answer is marked: ``always yes (majority)``. Where examples of `test` have
    question types, one more gives each the most frequent training answer to its type, and the
    majority to a type that training lacks.

    Raises:
        MetricError: `test` is empty or an example of it has no answer.
    """
    by_type = _answers_by_type(train)
    majority = _most_frequent(sum(by_type.values(), Counter()), info.labels)
    rows = list(test)
    answers = {
        f"always {answer}{MAJORITY if answer == majority else ''}": [answer] * len(rows)
        for answer in _candidates(info, majority)
    }
    types = [example.question_type for example in rows]
    if majority is not None and any(types):
        best = {kind: _most_frequent(counts, info.labels) for kind, counts in by_type.items()}
        best[None] = majority
        answers[PER_QUESTION_TYPE] = [best.get(kind) or majority for kind in types]
    return {
        name: score(info.task, predictions, rows, positive=info.positive)
        for name, predictions in answers.items()
    }


def _answers_by_type(examples: Iterable[Example]) -> dict[str | None, Counter[str]]:
    """Return how often each target answer occurs, by question type, in one pass."""
    by_type: dict[str | None, Counter[str]] = {}
    for example in examples:
        if example.answer is not None:
            by_type.setdefault(example.question_type, Counter())[example.answer] += 1
    return by_type


def _most_frequent(counts: Counter[str], order: Sequence[str]) -> str | None:
    rank = {answer: place for place, answer in enumerate(order)}
    ranked = ((-count, rank.get(answer, len(rank)), answer) for answer, count in counts.items())
    return min(ranked)[-1] if counts else None


def _candidates(info: DatasetInfo, majority: str | None) -> list[str]:
    fixed: list[str] = []
    if info.task == "vqa":
        fixed = ["yes"]
    elif info.task == "label" and len(info.labels) <= MOST_LABELS_LISTED:
        fixed = list(info.labels)
    return fixed + ([majority] if majority is not None and majority not in fixed else [])
