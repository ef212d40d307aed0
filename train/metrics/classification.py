"""Precision, recall, F1 and accuracy of predicted labels.

A prediction that is no label at all is simply wrong: it is never the positive one. Every ratio
whose denominator is zero is 0.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from .result import Metrics, ScoredExample, ScoreRules, percent, reference_answers


@dataclass(frozen=True)
class PrecisionRecall:
    """Precision, recall and F1, each in [0, 1]."""

    precision: float
    recall: float
    f1: float


def binary_scores(
    predictions: Sequence[str], references: Sequence[str], *, positive: str
) -> PrecisionRecall:
    """Return precision, recall and F1 of one label against all else.

    Nothing predicted positive gives precision 0, nothing truly positive gives recall 0, and both
    give F1 0.
    """
    pairs = zip(predictions, references, strict=True)
    hits = sum(predicted == positive == reference for predicted, reference in pairs)
    claimed = sum(predicted == positive for predicted in predictions)
    actual = sum(reference == positive for reference in references)
    return PrecisionRecall(
        precision=_ratio(hits, claimed),
        recall=_ratio(hits, actual),
        f1=_ratio(2 * hits, claimed + actual),
    )


def weighted_scores(predictions: Sequence[str], references: Sequence[str]) -> PrecisionRecall:
    """Return each label's precision, recall and F1, averaged by how often the label is true.

    A label that is predicted but never true has no weight.
    """
    support = Counter(references)
    scores = {label: binary_scores(predictions, references, positive=label) for label in support}
    return PrecisionRecall(
        precision=_ratio(sum(support[k] * scores[k].precision for k in support), support.total()),
        recall=_ratio(sum(support[k] * scores[k].recall for k in support), support.total()),
        f1=_ratio(sum(support[k] * scores[k].f1 for k in support), support.total()),
    )


def accuracy(predictions: Sequence[str], references: Sequence[str]) -> float:
    """Return the fraction of predictions that equal their reference; 0 where there are none."""
    pairs = zip(predictions, references, strict=True)
    return _ratio(sum(predicted == reference for predicted, reference in pairs), len(references))


def score_labels(
    predictions: Sequence[str], examples: Sequence[ScoredExample], rules: ScoreRules
) -> Metrics:
    """Return accuracy and weighted scores; with a positive label its own scores come first."""
    references = reference_answers(examples)
    weighted = weighted_scores(predictions, references)
    common = {
        "accuracy": percent(accuracy(predictions, references)),
        "weighted_precision": percent(weighted.precision),
        "weighted_recall": percent(weighted.recall),
        "weighted_f1": percent(weighted.f1),
    }
    if rules.positive is None:
        columns = ("accuracy", "weighted_f1")
        return Metrics(common, columns, headline="accuracy", examples=len(references))
    binary = binary_scores(predictions, references, positive=rules.positive)
    own = {
        "precision": percent(binary.precision),
        "recall": percent(binary.recall),
        "f1": percent(binary.f1),
    }
    columns = (*own, "accuracy", "weighted_f1")
    return Metrics({**own, **common}, columns, headline="f1", examples=len(references))


def _ratio(numerator: float, denominator: int) -> float:
    return numerator / denominator if denominator else 0.0
