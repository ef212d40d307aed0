"""What a scorer reads and what it returns, the same for every task."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from ...errors import MetricError

Task = Literal["vqa", "label", "text"]
Scoring = Literal["official", "always-normalised"]


class ScoredExample(Protocol):
    """The part of an example that scoring reads (`cache.examples.Example` has it)."""

    @property
    def id(self) -> str:
        """The example's id."""
        ...

    @property
    def answer(self) -> str | None:
        """The training target, or None where the split has no annotations."""
        ...

    @property
    def answers(self) -> Sequence[str]:
        """Every annotator's answer; may be empty."""
        ...

    @property
    def answer_type(self) -> str | None:
        """A kind of answer such as ``yes/no``, where the dataset tells."""
        ...

    @property
    def question_type(self) -> str | None:
        """A kind of question such as ``how many``, where the dataset tells."""
        ...


class ExampleSource(Protocol):
    """A sized series of examples: an `ExampleTable`, or a plain list."""

    def __len__(self) -> int:
        """The number of examples."""
        ...

    def __iter__(self) -> Iterator[ScoredExample]:
        """The examples, in the order of the predictions."""
        ...


@dataclass(frozen=True)
class ScoreRules:
    """How to score, where a task leaves a choice.

    Attributes:
        positive: The label whose precision, recall and F1 are reported (``label`` tasks).
    """

    positive: str | None = None


@dataclass(frozen=True)
class Metrics:
    """One set of predictions scored, in percent, each figure to two decimals.

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

    def as_dict(self) -> dict[str, object]:
        """Return all fields as plain JSON values."""
        return {
            "values": dict(self.values),
            "columns": list(self.columns),
            "headline": self.headline,
            "examples": self.examples,
            "by_question_type": dict(self.by_question_type),
        }


def percent(fraction: float) -> float:
    """Return a fraction as percent to two decimals."""
    return round(100 * fraction, 2)


def reference_answers(examples: Sequence[ScoredExample]) -> list[str]:
    """Return each example's target answer.

    Raises:
        MetricError: An example has none; the message names it.
    """
    references = []
    for example in examples:
        if example.answer is None:
            raise MetricError(
                f"example {example.id!r} has no answer to score against; "
                "score a split that has annotations"
            )
        references.append(example.answer)
    return references
