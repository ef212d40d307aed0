"""The trivial answers that stand beside every result."""

import json

import pytest

from promptfuse.cache.examples import DatasetInfo
from promptfuse.demo import vqa
from promptfuse.errors import MetricError
from promptfuse.train.metrics import PER_QUESTION_TYPE, trivial_answers

from .examples_by_hand import asked, labelled


def about(task: str, labels: tuple[str, ...] = (), positive: str | None = None) -> DatasetInfo:
    return DatasetInfo("made", "table", task, labels, positive)


MUSTARD = about("label", ("True", "False"), "True")


def test_label_task_on_the_mustard_split_of_the_paper() -> None:
    train = labelled(*["True"] * 193, *["False"] * 141)
    test = labelled(*["True"] * 152, *["False"] * 204)
    answers = trivial_answers(MUSTARD, train, test)
    assert list(answers) == ["always True (majority)", "always False"]
    always_true = answers["always True (majority)"].values
    assert (always_true["precision"], always_true["recall"], always_true["f1"]) == (
        42.70,
        100.0,
        59.84,
    )
    assert answers["always False"].values["f1"] == 0.0
    assert answers["always False"].values["accuracy"] == 57.30


def test_the_majority_is_that_of_training_not_of_test() -> None:
    answers = trivial_answers(MUSTARD, labelled("False", "False", "True"), labelled("True"))
    assert list(answers) == ["always True", "always False (majority)"]


def test_vqa_answers_yes_and_the_training_majority() -> None:
    train = labelled("2", "2", "2", "yes", "no")
    test = [
        asked("1", "yes", ("yes",) * 10, "yes/no", "is"),
        asked("2", "2", ("2",) * 4 + ("3",) * 6, "number", "how many"),
    ]
    answers = trivial_answers(about("vqa"), train, test)
    assert list(answers) == ["always yes", "always 2 (majority)", PER_QUESTION_TYPE]
    assert answers["always yes"].values == {
        "overall": 50.0, "always-normalised": 50.0, "yes/no": 100.0, "number": 0.0
    }  # fmt: skip
    assert answers["always 2 (majority)"].values["number"] == 100.0


def test_each_question_type_gets_its_own_most_frequent_answer() -> None:
    train = [
        *(asked(str(i), "yes", question_type="is") for i in range(5)),
        *(asked(str(i), "2", question_type="how many") for i in range(5, 8)),
        asked("8", "3", question_type="how many"),
    ]
    test = [
        asked("a", "yes", ("yes",) * 10, "yes/no", "is"),
        asked("b", "2", ("2",) * 10, "number", "how many"),
        asked("c", "3", ("3",) * 10, "number", "how many"),
        asked("d", "yes", ("yes",) * 10, "other", "what"),  # unseen: the overall majority
        asked("e", "2", ("2",) * 10, "other"),  # without a type: the same
    ]
    answers = trivial_answers(about("vqa"), train, test)
    assert answers[PER_QUESTION_TYPE].values["overall"] == 60.0  # yes, 2, 2, yes, yes: 3 of 5
    assert answers["always yes (majority)"].values["overall"] == 40.0


def test_without_question_types_there_is_no_such_answer() -> None:
    train = [asked("1", "2", question_type="how many")]
    assert PER_QUESTION_TYPE not in trivial_answers(about("vqa"), train, [asked("2", "2", ("2",))])


def test_vqa_majority_yes_is_listed_once() -> None:
    test = [asked("1", "yes", ("yes",) * 10, "yes/no", "is")]
    answers = trivial_answers(about("vqa"), labelled("yes", "no", "yes"), test)
    assert list(answers) == ["always yes (majority)", PER_QUESTION_TYPE]


def test_trivial_vqa_answers_have_both_scorings() -> None:
    test = [asked("1", "Yes!", ("Yes!",) * 10, "yes/no", "is")]
    values = trivial_answers(about("vqa"), [], test)["always yes"].values
    assert (values["overall"], values["always-normalised"]) == (0.0, 100.0)


def test_text_task_has_the_training_majority_only() -> None:
    answers = trivial_answers(about("text"), labelled("a", "b", "b"), labelled("b", "a"))
    assert list(answers) == ["always b (majority)"]
    assert answers["always b (majority)"].values == {"exact_match": 50.0}


def test_many_labels_are_not_all_listed() -> None:
    labels = tuple(f"class{i}" for i in range(9))
    answers = trivial_answers(about("label", labels), labelled("class3"), labelled("class3"))
    assert list(answers) == ["always class3 (majority)"]


def test_without_training_answers_there_is_no_majority() -> None:
    assert list(trivial_answers(MUSTARD, [], labelled("True"))) == ["always True", "always False"]
    assert trivial_answers(about("text"), labelled(None), labelled("a")) == {}


def test_majority_ties_go_by_label_order_then_alphabet() -> None:
    tied, test = labelled("b", "a", "c", None), labelled("a")
    assert list(trivial_answers(about("text"), tied, test)) == ["always a (majority)"]
    ordered = trivial_answers(about("text", ("c", "b")), tied, test)
    assert list(ordered) == ["always c (majority)"]


def test_an_empty_test_split_is_an_error() -> None:
    with pytest.raises(MetricError, match="no examples to score"):
        trivial_answers(MUSTARD, labelled("True"), [])


def test_on_the_demo_the_most_frequent_answer_to_each_type_is_well_above_always_yes(tmp_path):
    vqa.Vqa().write(tmp_path, 0)
    splits = {}
    for split, year in vqa.YEAR.items():
        text = (tmp_path / f"v2_mscoco_{year}_annotations.json").read_text()
        splits[split] = [
            asked(
                str(row["question_id"]),
                row["multiple_choice_answer"],
                tuple(each["answer"] for each in row["answers"]),
                row["answer_type"],
                row["question_type"],
            )
            for row in json.loads(text)["annotations"]
        ]
    answers = trivial_answers(about("vqa"), splits["train"], splits["val"])
    overall = {name: metrics.values["overall"] for name, metrics in answers.items()}
    # counted apart, with a Counter for each type and min(matches / 3, 1) over nine of ten answers
    assert overall == {"always yes (majority)": 24.03, PER_QUESTION_TYPE: 35.75}
