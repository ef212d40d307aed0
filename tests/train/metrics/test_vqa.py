"""VQA accuracy, worked by hand from the official rule."""

import json

import pytest

from promptfuse.cache.examples import Example
from promptfuse.errors import MetricError
from promptfuse.train.metrics import official_results, score, vqa_accuracy

from .examples_by_hand import asked


def ten(matches: int, *, answer: str = "cat") -> list[str]:
    """Ten answers, `matches` of them the same and the rest all different."""
    return [answer] * matches + [f"other{i}" for i in range(10 - matches)]


@pytest.mark.parametrize(
    ("matches", "expected"),
    [(0, 0.0), (1, 0.3), (2, 0.6), (3, 0.9), (4, 1.0), (5, 1.0), (9, 1.0), (10, 1.0)],
)
def test_ten_answers_give_the_published_steps(matches: int, expected: float) -> None:
    assert vqa_accuracy("cat", ten(matches)) == pytest.approx(expected, abs=1e-12)


def test_three_matches_are_one_subset_short_of_full() -> None:
    # Leaving out one of the three matching annotators: 2/3; leaving out one of the seven: 1.
    assert vqa_accuracy("cat", ten(3)) == pytest.approx((3 * 2 / 3 + 7 * 1) / 10)


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        (["cat"], 0.0),  # nobody else is left to agree with
        (["cat", "dog"], (0 + 1 / 3) / 2),
        (["cat", "cat"], 1 / 3),
        (["cat", "cat", "cat"], 2 / 3),
        (["cat", "cat", "cat", "cat"], 1.0),
        (["cat", "cat", "cat", "dog"], (3 * 2 / 3 + 1) / 4),
    ],
)
def test_fewer_answers_leave_one_of_those_present_out(answers: list[str], expected: float) -> None:
    assert vqa_accuracy("cat", answers) == pytest.approx(expected)


def test_unanimous_answers_are_compared_as_they_are() -> None:
    unanimous = ["Two Cats!"] * 10
    assert vqa_accuracy("two cats", unanimous) == 0.0
    assert vqa_accuracy("Two Cats!", unanimous) == 1.0


def test_unanimous_answers_are_still_cleaned_of_outer_and_odd_whitespace() -> None:
    assert vqa_accuracy("two\ncats ", ["two cats"] * 9 + [" two\tcats"]) == 1.0


def test_whitespace_alone_is_no_disagreement() -> None:
    # Unanimous once cleaned, so nothing else is normalised and the article counts.
    answers = ["the cat"] * 9 + [" the\tcat\n"]
    assert vqa_accuracy("cat", answers) == 0.0
    assert vqa_accuracy("the cat", answers) == 1.0


def test_always_normalised_scoring_normalises_unanimous_answers_too() -> None:
    unanimous = ["Two Cats!"] * 10
    assert vqa_accuracy("the 2 cats", unanimous, scoring="always-normalised") == 1.0
    assert vqa_accuracy("the 2 cats", unanimous, scoring="official") == 0.0


def test_one_dissenter_makes_both_sides_normalised() -> None:
    answers = ["Two cats!"] * 9 + ["dog"]
    assert vqa_accuracy("a 2 cats.", answers) == 1.0


def test_answers_that_differ_only_before_normalisation_count_as_disagreement() -> None:
    assert vqa_accuracy("2", ["two"] * 5 + ["Two"] * 5) == 1.0
    assert vqa_accuracy("2", ["two"] * 10) == 0.0


def test_both_scorings_agree_where_annotators_disagree() -> None:
    answers = ["yes"] * 3 + ["Yes."] * 4 + ["no"] * 3
    for prediction in ("yes", "no", "NO!", "maybe"):
        assert vqa_accuracy(prediction, answers) == vqa_accuracy(
            prediction, answers, scoring="always-normalised"
        )


def test_an_empty_prediction_scores_nothing() -> None:
    assert vqa_accuracy("", ten(4)) == 0.0


def test_an_empty_prediction_matches_an_answer_that_normalises_to_nothing() -> None:
    assert vqa_accuracy("", ten(4, answer="the")) == 1.0  # as in the official scorer


def test_no_answers_is_an_error() -> None:
    with pytest.raises(MetricError, match="answers to score 'cat' against"):
        vqa_accuracy("cat", [])


def test_an_unknown_scoring_is_named() -> None:
    with pytest.raises(MetricError, match="'lenient'; choose one of: official, always-norm"):
        vqa_accuracy("cat", ["cat"], scoring="lenient")  # pyright: ignore[reportArgumentType]


def questions() -> list[Example]:
    """Five questions: two yes/no, one number, one of a further type, one without types."""
    return [
        asked("11", "yes", ("yes",) * 10, "yes/no", "is the"),
        asked("12", "no", tuple(ten(3, answer="no")), "yes/no", "is there"),
        asked("13", "2", tuple(ten(1, answer="2")), "number", "how many"),
        asked("14", "red", tuple(ten(2, answer="red")), "colour", "is the"),
        asked("15", "cat", tuple(ten(4)), None, None),
    ]


PREDICTIONS = ["yes", "no", "two", "red", "dog"]  # 1, .9, .3 ("two" is "2"), .6, 0


def test_report_gives_percent_to_two_decimals_overall_and_by_type() -> None:
    report = score("vqa", PREDICTIONS, questions())
    official = {"overall": 56.0, "yes/no": 95.0, "number": 30.0, "colour": 60.0}  # 2.8 / 5
    assert report.values == official | {"always-normalised": 56.0}
    assert report.by_question_type == {"how many": 30.0, "is the": 80.0, "is there": 90.0}


def test_report_orders_answer_types_as_the_literature_does_and_question_types_by_name() -> None:
    report = score("vqa", PREDICTIONS[::-1], questions()[::-1])
    assert list(report.values)[1:4] == ["yes/no", "number", "colour"]
    assert list(report.by_question_type) == ["how many", "is the", "is there"]


def test_report_rounds_to_two_decimals() -> None:
    examples = [asked(str(i), "cat", tuple(ten(4)), "other", "what") for i in range(3)]
    assert score("vqa", ["cat", "dog", "dog"], examples).values["overall"] == 33.33


def test_report_names_the_question_without_answers() -> None:
    with pytest.raises(MetricError, match="example '77' has no answer to score"):
        score("vqa", ["cat"], [asked("77")])


def test_metrics_put_overall_first_and_keep_question_types_apart() -> None:
    metrics = score("vqa", PREDICTIONS, questions())
    assert metrics.columns == ("overall", "yes/no", "number", "colour", "always-normalised")
    assert metrics.headline == "overall"
    assert metrics.values["overall"] == 56.0
    assert metrics.by_question_type["is the"] == 80.0
    assert metrics.examples == 5


def test_the_two_scorings_differ_where_annotators_agree() -> None:
    examples = [
        asked("1", "Two", ("Two",) * 10, "number", "how many"),
        asked("2", "Two", ("Two",) * 9 + ("2",), "number", "how many"),
    ]
    values = score("vqa", ["2", "2"], examples).values
    assert values == {"overall": 50.0, "always-normalised": 100.0, "number": 50.0}


def test_official_results_hold_whole_number_ids_in_order() -> None:
    text = official_results(["458752000", "42"], ["yes", "café"])
    assert json.loads(text) == [
        {"question_id": 458752000, "answer": "yes"},
        {"question_id": 42, "answer": "café"},
    ]


@pytest.mark.parametrize("bad", ["1_60", "x1", "", " 7", "-3", "3.0", "٣"])
def test_official_results_refuse_an_id_that_is_no_whole_number(bad: str) -> None:
    with pytest.raises(MetricError, match=f"question id '{bad}' is not a whole number"):
        official_results([bad], ["yes"])


def test_official_results_refuse_a_repeated_id() -> None:
    with pytest.raises(MetricError, match="question_id 7 appears twice"):
        official_results(["7", "8", "07"], ["yes", "no", "no"])


def test_official_results_refuse_differing_lengths() -> None:
    with pytest.raises(MetricError, match="1 predictions for 2 question ids"):
        official_results(["7", "8"], ["yes"])
