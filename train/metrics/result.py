"""What a metric returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ...errors import MetricError

if TYPE_CHECKING:
    from ...cache.examples import Example


@dataclass(frozen=True)
class Metrics:
    """What one metric, or all of a task's, say of a set of predictions.

    Attributes:
        values: Figure by name, in percent to two decimals, in the order in which to show them.
        columns: The names that belong in a table (the rest is for the record).
        headline: The one figure to compare runs by.
        examples: How many examples were scored.
        by_question_type: Accuracy by question type, where the metric tells it.
    """

    values: Mapping[str, float]
    columns: tuple[str, ...]
    headline: str
    examples: int
    by_question_type: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in (*self.columns, self.headline):
            if name not in self.values:
                known = ", ".join(self.values)
                raise MetricError(f"no value for the metric {name!r}; have: {known}")


Metric = Callable[[Sequence[str], "Sequence[Example]", str | None], Metrics]
"""From predictions, their examples and a positive label to figures."""


def unanswered(example: Example) -> MetricError:
    """Return the error that an example has nothing to be scored against."""
    return MetricError(
        f"example {example.id!r} has no answer to score against; score a split that has annotations"
    )
