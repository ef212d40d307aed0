"""Exact match for open answers."""

import pytest

from promptfuse.errors import MetricError
from promptfuse.train.metrics import score
from promptfuse.train.metrics.classification import exact_match

from .examples_by_hand import asked, labelled


@pytest.mark.parametrize(
    ("prediction", "answer", "matches"),
    [
        ("Red bus", "red bus", True),
        ("  red bus\n", "red bus", True),
        ("STRASSE", "straße", True),  # casefold, not lower
        ("red  bus", "red bus", False),  # inner spaces count
        ("red bus.", "red bus", False),  # punctuation counts
        ("", "red", False),
    ],
)
def test_exact_match(prediction: str, answer: str, matches: bool) -> None:
    assert exact_match(prediction, [answer]) is matches


def test_score_is_the_share_of_matches_in_percent() -> None:
    metrics = score("text", ["a", "B", "x"], labelled("a", "b", "c"))
    assert dict(metrics.values) == {"exact_match": 66.67}
    assert metrics.columns == ("exact_match",)
    assert metrics.examples == 3


def test_any_of_several_answers_is_accepted_besides_the_target() -> None:
    example = asked("1", "cat", ("kitten", "kitty"))
    for prediction, expected in [("cat", 100.0), ("Kitty", 100.0), ("dog", 0.0)]:
        metrics = score("text", [prediction], [example])
        assert metrics.values["exact_match"] == expected


def test_an_example_without_an_answer_is_named() -> None:
    with pytest.raises(MetricError, match="example '1' has no answer"):
        score("text", ["a", "b"], labelled("a", None))
