"""What `pfcli eval` prints."""

from pathlib import Path

from promptfuse.commands.train import results_table
from promptfuse.train.evaluate import Evaluation
from promptfuse.train.metrics import score

from ..train.metrics.examples_by_hand import labelled
from ..train.report.made_runs import made_record


def test_binary_and_weighted_scores_stand_side_by_side():
    examples = labelled("True", "False", "False", "False")
    metrics = score("label", ["True", "True", "False", "False"], examples, positive="True")
    always = score("label", ["True"] * 4, examples, positive="True")
    found = Evaluation(made_record(), "test", metrics, {"always True": always}, 0, 0, Path())
    table = results_table(found)
    row = dict(zip(table.columns, table.rows[0], strict=True))
    assert list(row) == [
        "", "precision", "recall", "f1", "accuracy",
        "weighted precision", "weighted recall", "weighted f1",
    ]  # fmt: skip
    assert (row["precision"], row["recall"]) == (50.0, 100.0)
    assert row["weighted precision"] == 87.5  # (1 × 1/2 + 3 × 1) / 4
    assert row["weighted recall"] == row["accuracy"] == 75.0
    assert max(map(len, table.text().splitlines())) <= 120
