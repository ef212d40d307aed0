"""What `pfcli eval` says where a run is no better than a constant answer."""

import shlex
from pathlib import Path

import pytest
from typer.main import get_command

from promptfuse.cache.examples import DatasetInfo
from promptfuse.cli import app
from promptfuse.commands.train import advice
from promptfuse.library.workspace import Workspace
from promptfuse.train.evaluate import Evaluation
from promptfuse.train.metrics import score
from promptfuse.train.record import FeatureUse

from ..train.metrics.examples_by_hand import labelled
from ..train.report.made_runs import made_record

VIDEO = {"video": FeatureUse("aa", "pooler", "small")}
JOKES = DatasetInfo(
    "jokes",
    "table",
    "label",
    labels=("True", "False"),
    positive="True",
    modalities=("video", "audio"),
    splits={"train": 640, "test": 4},
)


def advised(predictions: list[str], *, data_known: bool = True, **settings) -> str:
    """Return the advice on answers to four examples of which one is sarcastic."""
    examples = labelled("True", "False", "False", "False")
    metrics = score("label", predictions, examples, positive="True")
    always = score("label", ["True"] * 4, examples, positive="True")
    record = made_record(**settings)
    evaluation = Evaluation(record, "test", metrics, {"always True": always}, 0, 0, Path())
    return advice(evaluation, JOKES, Workspace(data="jokes.jsonl" if data_known else None))


def commands(text: str) -> list[list[str]]:
    typed = text[text.index("pfcli") :].split(" && ")
    return [shlex.split(command)[1:] for command in typed]


def test_a_run_above_every_constant_answer_needs_none():
    assert advised(["True", "False", "False", "False"]) == ""


def test_few_shots_of_video_alone_are_told_of_the_sound_and_the_rest_of_the_examples():
    text = advised(["False"] * 4, features=VIDEO, method="blindprompt", shots=16)
    # precision 1/4 and recall 1 of always True are an F1 of 2/5
    assert "blindprompt is no better here than the answer 'always True'" in text
    assert "f1 0.00, and 40.00" in text
    assert "with audio too, and all 640 examples: " in text
    assert commands(text) == [
        ["extract", "--dataset", "jokes", "--modality", "all"],
        ["train", "--dataset", "jokes", "--method", "blindprompt", "--plm", "/models/small"],
        ["eval"],
    ]


def test_a_level_score_is_no_better():
    assert "f1 40.00, and 40.00" in advised(["True"] * 4)


def test_no_extraction_is_named_whose_data_are_not_known():
    text = advised(["False"] * 4, features=VIDEO, shots=16, data_known=False)
    assert "extract" not in text
    assert "with all 640 examples: pfcli train" in text


def test_a_control_is_told_of_the_method_that_sees():
    assert "--method promptfuse" in advised(["False"] * 4, method="noprompt", shots=None)


@pytest.mark.parametrize(
    "settings",
    [
        {"features": VIDEO, "shots": 16},
        {"shots": 16, "fold": 2},
        {"shots": None},
        {"shots": None, "method": "blackimage"},
    ],
    ids=["video", "fold", "everything", "control"],
)
def test_every_command_can_be_typed(settings):
    for name, *arguments in commands(advised(["False"] * 4, **settings)):
        command = get_command(app).commands[name]  # pyright: ignore[reportAttributeAccessIssue]
        command.make_context(name, list(arguments))
