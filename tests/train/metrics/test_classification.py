"""Label metrics, worked by hand."""

import pytest

from promptfuse.errors import MetricError
from promptfuse.train.metrics import score
from promptfuse.train.metrics.classification import accuracy, binary_scores, weighted_scores

from .examples_by_hand import labelled

#            hit   miss   hit   false alarm  right no
REFERENCES = ["T", "T", "T", "F", "F"]
PREDICTIONS = ["T", "F", "T", "T", "F"]


def test_binary_scores_of_two_hits_one_miss_one_false_alarm() -> None:
    scores = binary_scores(PREDICTIONS, REFERENCES, positive="T")
    assert scores.precision == pytest.approx(2 / 3)
    assert scores.recall == pytest.approx(2 / 3)
    assert scores.f1 == pytest.approx(2 / 3)


def test_binary_scores_of_the_other_label() -> None:
    scores = binary_scores(PREDICTIONS, REFERENCES, positive="F")
    assert (scores.precision, scores.recall, scores.f1) == (0.5, 0.5, 0.5)


def test_precision_and_recall_are_not_swapped() -> None:
    scores = binary_scores(["T", "T", "T", "T"], ["T", "F", "F", "F"], positive="T")
    assert scores.precision == 0.25
    assert scores.recall == 1.0
    assert scores.f1 == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("predictions", "references"),
    [(["F", "F"], ["T", "F"]), (["T", "F"], ["F", "F"]), (["F", "F"], ["F", "F"]), ([], [])],
)
def test_zero_denominators_give_zero(predictions: list[str], references: list[str]) -> None:
    scores = binary_scores(predictions, references, positive="T")
    assert (scores.precision, scores.recall, scores.f1) == (0.0, 0.0, 0.0)


def test_weighted_scores_weigh_by_true_frequency() -> None:
    scores = weighted_scores(PREDICTIONS, REFERENCES)
    expected = (3 * (2 / 3) + 2 * 0.5) / 5
    assert scores.precision == pytest.approx(expected)
    assert scores.recall == pytest.approx(expected)
    assert scores.f1 == pytest.approx(expected)


def test_weighted_scores_of_three_labels() -> None:
    # a: precision 1/2, recall 1/2; b: 1/1, 1/1; c: 0/1, 0/1, its f1 0.
    scores = weighted_scores(["a", "c", "b", "a"], ["a", "a", "b", "c"])
    assert scores.precision == pytest.approx((2 * 0.5 + 1 * 1 + 1 * 0) / 4)
    assert scores.recall == pytest.approx(0.5)
    assert scores.f1 == pytest.approx((2 * 0.5 + 1 * 1 + 0) / 4)


def test_a_label_never_true_has_no_weight_but_costs_recall() -> None:
    scores = weighted_scores(["z", "a"], ["a", "a"])
    assert scores.precision == 1.0
    assert scores.recall == 0.5


def test_a_prediction_that_is_no_label_is_wrong_and_not_positive() -> None:
    scores = binary_scores(["maybe", "T"], ["T", "T"], positive="T")
    assert (scores.precision, scores.recall) == (1.0, 0.5)
    assert accuracy(["maybe", "T"], ["T", "T"]) == 0.5


def test_accuracy_of_nothing_is_zero() -> None:
    assert accuracy([], []) == 0.0


def test_always_true_on_the_mustard_split_of_the_paper() -> None:
    examples = labelled(*["True"] * 152, *["False"] * 204)
    metrics = score("label", ["True"] * 356, examples, positive="True")
    assert metrics.values["precision"] == 42.70
    assert metrics.values["recall"] == 100.0
    assert metrics.values["f1"] == 59.84
    assert metrics.values["accuracy"] == 42.70
    assert metrics.values["weighted_precision"] == 18.23  # .42697 of weight × .42697
    assert metrics.values["weighted_recall"] == 42.70


def test_positive_label_puts_its_own_scores_first() -> None:
    metrics = score("label", PREDICTIONS, labelled(*REFERENCES), positive="T")
    assert metrics.columns == ("precision", "recall", "f1", "accuracy", "weighted_f1")
    assert list(metrics.values) == [
        "precision", "recall", "f1",
        "accuracy", "weighted_precision", "weighted_recall", "weighted_f1",
    ]  # fmt: skip
    assert metrics.headline == "f1"
    assert metrics.values["accuracy"] == 60.0


def test_without_a_positive_label_accuracy_leads() -> None:
    metrics = score("label", PREDICTIONS, labelled(*REFERENCES))
    assert metrics.columns == ("accuracy", "weighted_f1")
    assert metrics.headline == "accuracy"
    assert "f1" not in metrics.values


def test_an_example_without_an_answer_is_named() -> None:
    with pytest.raises(MetricError, match="example '1' has no answer"):
        score("label", ["T", "T"], labelled("T", None), positive="T")
