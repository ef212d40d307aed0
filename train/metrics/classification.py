"""Predictions held against true answers as a whole: labels, and open answers.

A prediction that is no label at all is simply wrong: it is never the positive one. Every ratio
whose denominator is zero is 0.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from statistics import fmean
from typing import TYPE_CHECKING, NamedTuple

from .result import Metrics, unanswered

if TYPE_CHECKING:
    from ...cache.examples import Example


class PrecisionRecall(NamedTuple):
    """Precision, recall and F1, each in [0, 1]."""

    precision: float
    recall: float
    f1: float


def binary_scores(
    predictions: Sequence[str], references: Sequence[str], *, positive: str
) -> PrecisionRecall:
    """Return precision, recall and F1 of one label against all else."""
    pairs = zip(predictions, references, strict=True)
    hits = sum(predicted == positive == reference for predicted, reference in pairs)
    claimed, actual = predictions.count(positive), references.count(positive)
    return PrecisionRecall(
        _ratio(hits, claimed), _ratio(hits, actual), _ratio(2 * hits, claimed + actual)
    )


def weighted_scores(predictions: Sequence[str], references: Sequence[str]) -> PrecisionRecall:
    """Return each label's precision, recall and F1, averaged by how often the label is true."""
    counts = Counter(references)
    scores = [binary_scores(predictions, references, positive=label) for label in counts]
    return PrecisionRecall(
        *(fmean(column, counts.values()) for column in zip(*scores, strict=True))
    )


def accuracy(predictions: Sequence[str], references: Sequence[str]) -> float:
    """Return the fraction of predictions that equal their reference; 0 where there are none."""
    pairs = zip(predictions, references, strict=True)
    return _ratio(sum(predicted == reference for predicted, reference in pairs), len(references))


def label_scores(
    predictions: Sequence[str], examples: Sequence[Example], positive: str | None
) -> Metrics:
    """Return the positive label's scores, if there is one, the accuracy and the weighted scores."""
    references = [example.answer for example in examples if example.answer is not None]
    if len(references) < len(examples):
        raise unanswered(next(example for example in examples if example.answer is None))
    shares: dict[str, float] = {}
    if positive is not None:
        shares = binary_scores(predictions, references, positive=positive)._asdict()
    shares["accuracy"] = accuracy(predictions, references)
    columns = (*shares, "weighted_f1")
    weighted = weighted_scores(predictions, references)._asdict()
    shares |= {f"weighted_{name}": share for name, share in weighted.items()}
    values = {name: round(100 * share, 2) for name, share in shares.items()}
    return Metrics(values, columns, "accuracy" if positive is None else "f1", len(examples))


def exact_match(prediction: str, accepted: Sequence[str]) -> bool:
    """Return whether the prediction equals an accepted answer, case and outer spaces aside."""
    return _folded(prediction) in map(_folded, accepted)


def accepted_answers(example: Example) -> list[str]:
    """Return every answer of an example that counts as right: its references and its target."""
    accepted = [answer for answer in (*example.answers, example.answer) if answer is not None]
    if not accepted:
        raise unanswered(example)
    return accepted


def exact_matches(
    predictions: Sequence[str], examples: Sequence[Example], _positive: str | None
) -> Metrics:
    """Return the share of predictions that match one of their example's answers."""
    pairs = zip(predictions, examples, strict=True)
    share = fmean(exact_match(given, accepted_answers(example)) for given, example in pairs)
    return Metrics(
        {"exact_match": round(100 * share, 2)}, ("exact_match",), "exact_match", len(examples)
    )


def _folded(text: str) -> str:
    return text.strip().casefold()


def _ratio(numerator: float, denominator: int) -> float:
    return numerator / denominator if denominator else 0.0
