"""Exact match for open answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .result import Figures, percent, unanswered

if TYPE_CHECKING:
    from ...cache.examples import Example


def exact_match(prediction: str, accepted: Sequence[str]) -> bool:
    """Return whether the prediction equals an accepted answer, case and outer spaces aside."""
    return _folded(prediction) in {_folded(answer) for answer in accepted}


def accepted_answers(example: Example) -> list[str]:
    """Return every answer of an example that counts as right: its target and its references.

    Raises:
        MetricError: It has none; the message names it.
    """
    accepted = [*example.answers, *([] if example.answer is None else [example.answer])]
    if not accepted:
        raise unanswered(example)
    return accepted


def exact_matches(
    predictions: Sequence[str], examples: Sequence[Example], _positive: str | None
) -> Figures:
    """Return the share of predictions that match their example's answer or one of its answers."""
    matched = sum(
        exact_match(prediction, accepted_answers(example))
        for prediction, example in zip(predictions, examples, strict=True)
    )
    return Figures({"exact_match": percent(matched / len(predictions))}, headline="exact_match")


def _folded(text: str) -> str:
    return text.strip().casefold()
