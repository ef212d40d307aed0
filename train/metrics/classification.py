"""Precision, recall, F1 and accuracy of predicted labels.

A prediction that is no label at all is simply wrong: it is never the positive one. Every ratio
whose denominator is zero is 0.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, astuple, dataclass
from typing import TYPE_CHECKING

from .result import Figures, percent, unanswered

if TYPE_CHECKING:
    from ...cache.examples import Example


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
    sums = [0.0, 0.0, 0.0]
    for label, count in Counter(references).items():
        scores = astuple(binary_scores(predictions, references, positive=label))
        sums = [total + count * share for total, share in zip(sums, scores, strict=True)]
    return PrecisionRecall(*(_ratio(total, len(references)) for total in sums))


def accuracy(predictions: Sequence[str], references: Sequence[str]) -> float:
    """Return the fraction of predictions that equal their reference; 0 where there are none."""
    pairs = zip(predictions, references, strict=True)
    return _ratio(sum(predicted == reference for predicted, reference in pairs), len(references))


def positive_label(
    predictions: Sequence[str], examples: Sequence[Example], positive: str | None
) -> Figures | None:
    """Return the positive label's precision, recall and F1; None where no label is the positive."""
    if positive is None:
        return None
    scores = binary_scores(predictions, _references(examples), positive=positive)
    return Figures(_in_percent(scores), headline="f1")


def label_accuracy(
    predictions: Sequence[str], examples: Sequence[Example], _positive: str | None
) -> Figures:
    """Return the share of predictions that are the true label."""
    share = percent(accuracy(predictions, _references(examples)))
    return Figures({"accuracy": share}, headline="accuracy")


def weighted_labels(
    predictions: Sequence[str], examples: Sequence[Example], _positive: str | None
) -> Figures:
    """Return precision, recall and F1 over all labels; a table shows the last."""
    scores = _in_percent(weighted_scores(predictions, _references(examples)))
    named = {f"weighted_{name}": value for name, value in scores.items()}
    return Figures({"weighted_f1": named.pop("weighted_f1")}, kept=named)


def _in_percent(scores: PrecisionRecall) -> dict[str, float]:
    return {name: percent(value) for name, value in asdict(scores).items()}


def _references(examples: Sequence[Example]) -> list[str]:
    for example in examples:
        if example.answer is None:
            raise unanswered(example)
    return [str(example.answer) for example in examples]


def _ratio(numerator: float, denominator: int) -> float:
    return numerator / denominator if denominator else 0.0
