"""The one entry point over all tasks."""

import json
import subprocess
import sys
from dataclasses import asdict

import pytest

from promptfuse.errors import MetricError, UnknownName
from promptfuse.train.metrics import METRICS, Metrics, score

from .examples_by_hand import asked, labelled


def test_each_task_has_its_metric() -> None:
    vqa = [asked("1", "yes", ("yes",) * 10, "yes/no", "is")]
    assert score("vqa", ["yes"], vqa).columns == ("overall", "yes/no", "always-normalised")
    assert score("label", ["T"], labelled("T"), positive="T").headline == "f1"
    assert score("label", ["T"], labelled("T")).headline == "accuracy"
    assert score("text", [" Yes"], labelled("yes")).values == {"exact_match": 100.0}
    assert set(METRICS) == {"vqa", "label", "text"}


def test_both_vqa_scorings_stand_side_by_side() -> None:
    unanimous = [asked("1", "Two", ("Two",) * 10, "number", "how many")]
    values = score("vqa", ["2"], unanimous).values
    assert values == {"overall": 0.0, "number": 0.0, "always-normalised": 100.0}


def test_an_unknown_task_lists_the_valid_ones() -> None:
    with pytest.raises(UnknownName, match="unknown task 'ranking'; choose one of: label, text, v"):
        score("ranking", ["a"], labelled("a"))


def test_a_metric_is_one_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    def characters(predictions, _examples, _positive):
        count = float(sum(map(len, predictions)))
        return Metrics({"characters": count}, ("characters",), "characters", len(predictions))

    monkeypatch.setitem(METRICS, "text", (*METRICS["text"], characters))
    metrics = score("text", ["abc", "d"], labelled("abc", "x"))
    assert metrics.values == {"exact_match": 50.0, "characters": 4.0}
    assert metrics.columns == ("exact_match", "characters")
    assert metrics.headline == "exact_match"


def test_lengths_must_agree() -> None:
    with pytest.raises(MetricError, match="2 predictions for 1 examples"):
        score("text", ["a", "b"], labelled("a"))


@pytest.mark.parametrize("task", sorted(METRICS))
def test_nothing_to_score_is_an_error(task: str) -> None:
    with pytest.raises(MetricError, match="no examples to score"):
        score(task, [], [])


@pytest.mark.parametrize("task", sorted(METRICS))
def test_a_split_without_annotations_is_an_error_that_names_an_example(task: str) -> None:
    with pytest.raises(MetricError, match="'0' has no answer"):
        score(task, ["yes"], labelled(None))


def test_metrics_are_plain_json() -> None:
    metrics = score("label", ["T", "F"], labelled("T", "T"), positive="T")
    record = json.loads(json.dumps(asdict(metrics)))
    assert record["values"]["recall"] == 50.0
    assert record["columns"][0] == "precision"
    assert record["examples"] == 2


def test_metrics_refuse_a_column_without_a_value() -> None:
    with pytest.raises(MetricError, match="metric 'f1'; have: accuracy"):
        Metrics({"accuracy": 1.0}, ("accuracy", "f1"), headline="accuracy", examples=1)


def test_metrics_and_tables_import_no_torch() -> None:
    program = (
        "import sys, promptfuse.train.metrics, promptfuse.tables;"
        "print(sorted({'torch', 'numpy', 'transformers'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout.decode().strip() == "[]"
