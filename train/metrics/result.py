"""What a metric returns, and a task's metrics together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from ...errors import MetricError

if TYPE_CHECKING:
    from ...cache.examples import Example


@dataclass(frozen=True)
class Figures:
    """What one metric says of a set of predictions, in percent, each figure to two decimals.

    Attributes:
        shown: Figure by name, for tables.
        kept: Figure by name, for the record alone.
        headline: The one figure to compare runs by, if this metric comes first.
        by_question_type: Accuracy by question type, where the metric tells it.
    """

    shown: Mapping[str, float]
    kept: Mapping[str, float] = field(default_factory=dict)
    headline: str | None = None
    by_question_type: Mapping[str, float] = field(default_factory=dict)


Metric = Callable[[Sequence[str], "Sequence[Example]", str | None], Figures | None]
"""From predictions, their examples and a positive label to figures; None where it says nothing."""


@dataclass(frozen=True)
class Metrics:
    """One set of predictions under all metrics of its task, in percent.

    Attributes:
        values: Figure by name, in the order in which to show them.
        columns: The names that belong in a table (the rest is for the record).
        headline: The one figure to compare runs by.
        examples: How many examples were scored.
        by_question_type: For ``vqa``, accuracy by question type; empty otherwise.
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

    @classmethod
    def joined(cls, parts: Sequence[Figures], *, examples: int) -> Metrics:
        """Return the figures of several metrics in their order; the first headline counts."""
        values: dict[str, float] = {}
        by_question_type: dict[str, float] = {}
        for part in parts:
            values |= {**part.kept, **part.shown}
            by_question_type |= part.by_question_type
        columns = tuple(name for part in parts for name in part.shown)
        headline = next((part.headline for part in parts if part.headline), columns[0])
        return cls(values, columns, headline, examples, by_question_type)

    def as_dict(self) -> dict[str, Any]:
        """Return all fields as plain JSON values."""
        return asdict(self) | {"columns": list(self.columns)}


def percent(fraction: float) -> float:
    """Return a fraction as percent to two decimals."""
    return round(100 * fraction, 2)


def unanswered(example: Example) -> MetricError:
    """Return the error that an example has nothing to be scored against."""
    return MetricError(
        f"example {example.id!r} has no answer to score against; score a split that has annotations"
    )
