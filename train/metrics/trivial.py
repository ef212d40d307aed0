"""Answers that need no model: what every method has to beat."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Protocol

from .result import ExampleSource, Metrics, ScoredExample
from .scoring import score

MOST_LABELS_LISTED = 8


class TaskInfo(Protocol):
    """The part of a dataset's description that is needed (`cache.examples.DatasetInfo` has it)."""

    @property
    def task(self) -> str:
        """A key of `METRICS`."""
        ...

    @property
    def labels(self) -> Sequence[str]:
        """The closed set of answers of a ``label`` task."""
        ...

    @property
    def positive(self) -> str | None:
        """The positive label, where there is one."""
        ...


def majority_answer(examples: Iterable[ScoredExample], *, order: Sequence[str] = ()) -> str | None:
    """Return the most frequent target answer, or None where no example has one.

    A tie goes to the answer that comes first in `order`, then to the first in the alphabet.
    """
    counts = Counter(example.answer for example in examples if example.answer is not None)
    if not counts:
        return None
    rank = {answer: place for place, answer in enumerate(order)}
    return min(counts, key=lambda answer: (-counts[answer], rank.get(answer, len(rank)), answer))


def trivial_answers(
    info: TaskInfo, train: ExampleSource, test: ExampleSource
) -> dict[str, Metrics]:
    """Return the metrics of each trivial answer on `test`, by a name such as ``always True``.

    For ``vqa`` these are "yes" and the most frequent training answer; for ``label`` every label
    (up to eight of them) and the training majority; for ``text`` the training majority. The most
    frequent training answer is marked: ``always yes (majority)``.

    Raises:
        MetricError: `test` is empty or an example of it has no answer.
    """
    majority = majority_answer(train, order=info.labels)
    rows = list(test)
    return {
        f"always {answer}{' (majority)' if answer == majority else ''}": score(
            info.task, [answer] * len(rows), rows, positive=info.positive
        )
        for answer in _candidates(info, majority)
    }


def _candidates(info: TaskInfo, majority: str | None) -> list[str]:
    fixed: list[str] = []
    if info.task == "vqa":
        fixed = ["yes"]
    elif info.task == "label" and len(info.labels) <= MOST_LABELS_LISTED:
        fixed = list(info.labels)
    return fixed + ([majority] if majority is not None and majority not in fixed else [])
