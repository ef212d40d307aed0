"""The metrics of each task, what scores them, and the answers that need no model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ...errors import MetricError, UnknownName
from .classification import exact_matches, label_scores
from .result import Metric, Metrics
from .vqa import always_normalised, official

if TYPE_CHECKING:
    from ...cache.examples import DatasetInfo, Example

METRICS: dict[str, tuple[Metric, ...]] = {
    "vqa": (official, always_normalised),
    "label": (label_scores,),
    "text": (exact_matches,),
}
"""A metric is one function and one entry here; the headline is the first one's."""

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

    For ``label`` tasks, `positive` is the label to report precision, recall and F1 of.

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
    values = {name: value for part in parts for name, value in part.values.items()}
    columns = tuple(name for part in parts for name in part.columns)
    return replace(parts[0], values=values, columns=columns)


def trivial_answers(
    info: DatasetInfo, train: Iterable[Example], test: Iterable[Example]
) -> dict[str, Metrics]:
    """Return the metrics of each trivial answer on `test`, by a name such as ``always True``.

    For ``vqa`` these are "yes" and the most frequent training answer; for ``label`` every label
    (up to eight of them) and the training majority; for ``text`` the training majority. The most
    frequent training answer is marked: ``always yes (majority)``; of several, the first of the
    labels or of the alphabet. Where examples of `test` have question types, one more gives each
    the most frequent training answer to its type, and the majority to a type that training lacks.

    Raises:
        MetricError: `test` is empty or an example of it has no answer.
    """
    by_type: dict[str | None, Counter[str]] = {}
    for example in train:
        if example.answer is not None:
            by_type.setdefault(example.question_type, Counter())[example.answer] += 1
    majority = _most_frequent(sum(by_type.values(), Counter()), info.labels)
    listed = info.labels if len(info.labels) <= MOST_LABELS_LISTED else ()
    fixed = {"vqa": ("yes",), "label": listed}.get(info.task, ())
    rows = list(test)
    answers = {
        f"always {answer}{MAJORITY if answer == majority else ''}": [answer] * len(rows)
        for answer in dict.fromkeys((*fixed, majority))
        if answer is not None
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


def _most_frequent(counts: Counter[str], order: Sequence[str]) -> str | None:
    rank = {answer: place for place, answer in enumerate(order)}
    ranked = ((-count, rank.get(answer, len(rank)), answer) for answer, count in counts.items())
    return min(ranked)[-1] if counts else None
