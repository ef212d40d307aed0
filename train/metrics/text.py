"""Exact match for open answers."""

from collections.abc import Sequence

from ...errors import MetricError
from .result import Metrics, ScoredExample, ScoreRules, percent


def exact_match(prediction: str, accepted: Sequence[str]) -> bool:
    """Return whether the prediction equals an accepted answer, case and outer spaces aside."""
    return _folded(prediction) in {_folded(answer) for answer in accepted}


def score_text(
    predictions: Sequence[str], examples: Sequence[ScoredExample], _rules: ScoreRules
) -> Metrics:
    """Return the share of predictions that match their example's answer or one of its answers."""
    matched = sum(
        exact_match(prediction, _accepted(example))
        for prediction, example in zip(predictions, examples, strict=True)
    )
    values = {"exact_match": percent(matched / len(predictions))}
    return Metrics(values, tuple(values), headline="exact_match", examples=len(predictions))


def _accepted(example: ScoredExample) -> list[str]:
    accepted = [*example.answers, *([] if example.answer is None else [example.answer])]
    if not accepted:
        raise MetricError(
            f"example {example.id!r} has no answer to score against; "
            "score a split that has annotations"
        )
    return accepted


def _folded(text: str) -> str:
    return text.strip().casefold()
