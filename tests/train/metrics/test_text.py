"""Exact match for open answers."""

import pytest

from promptfuse.errors import MetricError
from promptfuse.train.metrics.result import ScoreRules
from promptfuse.train.metrics.text import exact_match, score_text

from .examples_by_hand import HandExample, labelled


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
    metrics = score_text(["a", "B", "x"], labelled("a", "b", "c"), ScoreRules())
    assert dict(metrics.values) == {"exact_match": 66.67}
    assert metrics.columns == ("exact_match",)
    assert metrics.examples == 3


def test_any_of_several_answers_is_accepted_besides_the_target() -> None:
    example = HandExample(answer="cat", answers=("kitten", "kitty"))
    for prediction, expected in [("cat", 100.0), ("Kitty", 100.0), ("dog", 0.0)]:
        metrics = score_text([prediction], [example], ScoreRules())
        assert metrics.values["exact_match"] == expected


def test_an_example_without_an_answer_is_named() -> None:
    with pytest.raises(MetricError, match="example '1' has no answer"):
        score_text(["a", "b"], labelled("a", None), ScoreRules())
