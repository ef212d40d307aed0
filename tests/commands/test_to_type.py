"""What the commands say to type next works when it is typed, in the same folder."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from promptfuse.cli import app
from promptfuse.library.to_type import training
from promptfuse.library.workspace import Workspace
from promptfuse.train.record import deciding, read_record
from promptfuse.train.runs.folders import run_folders
from promptfuse.train.settings import idle

from ..train.small_bart import save_small_bart
from ..train.small_cache import names_of, write_features, write_sarcasm

PLACES = ("--cache", "my cache", "--runs", "elsewhere")
QUICK = ("--max-steps", "2", "--prompt-length", "3", "--batch-size", "3")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Work in a folder whose cache, which is not the usual one, holds two datasets."""
    monkeypatch.chdir(tmp_path)
    media = names_of("train", 12) + names_of("test", 6)
    for name in ("jokes", "puns"):
        write_sarcasm(tmp_path / "my cache", name=name)
    for modality in ("video", "audio"):
        write_features(tmp_path / "my cache", modality, media)
    save_small_bart(tmp_path / "bart")
    return tmp_path


def pfcli(*arguments, code=0):
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == code, (result.output, result.exception)
    return result.output


def commands_in(output):
    said = [line.partition(": ")[2] for line in output.splitlines() if line.startswith("next")]
    return [command for line in said for command in line.split(" && ")]


def typed(command):
    name, *arguments = shlex.split(command)
    assert name == "pfcli"
    done = subprocess.run(
        [sys.executable, "-m", "promptfuse", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, (command, done.stderr)
    return done.stdout


def records(folder):
    return [read_record(run) for run in run_folders(folder / "elsewhere")]


def test_each_command_works_that_is_named_after_another(folder):
    (folder / "promptfuse.toml").write_text('[train]\nplm = "bart"\nmax_steps = 2\n')
    (first,) = commands_in(pfcli("inspect", "--cache", "my cache"))
    typed(f"{first} --runs elsewhere")
    (evaluate,) = commands_in(
        pfcli(
            "train", "--dataset", "puns", "--shots", "4", "--modalities", "video", *QUICK, *PLACES
        )
    )
    (compare,) = commands_in(typed(evaluate))
    typed(compare)
    (report,) = commands_in(
        pfcli("sweep", "--dataset", "puns", "--method", "noprompt", "--name", "my sweep", *PLACES)
    )
    assert "noprompt" in typed(report)
    (verify,) = commands_in(pfcli("convert", "--format", "hdf5", "--cache", "my cache"))
    typed(verify)
    _, asked, compared, _ = records(folder)
    assert compared.settings.method == "blindprompt"
    differ = {key for key, value in deciding(compared).items() if value != deciding(asked)[key]}
    assert differ == {"method", "visibility"}
    assert compared.example_ids == asked.example_ids


def test_a_finished_run_names_what_evaluates_it(folder, monkeypatch):
    pfcli("train", "--dataset", "jokes", "--plm", "bart", *QUICK, *PLACES)
    result = CliRunner().invoke(app, ("train", "--resume", "1", *PLACES))
    command = re.search(r"is finished; next: (pfcli .*)", str(result.exception))[1]
    assert "on jokes's split 'test'" in typed(command)


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--method", "linear", "--shots", "6", "--seed", "2", "--data-seed", "5"),
        ("--epochs", "3", "--lr", "0.25", "--preset", "mustard_low", "--dev", "2"),
        ("--pool", "none", "--train-norms", "--prompt-position", "end", "--lr-other", "0.01"),
        ("--modalities", "audio", "--visibility", "reverse", "--prompt-encoder", "linear"),
        ("--method", "noprompt", "--plm-dtype", "bfloat16"),
    ],
    ids=" ".join,
)
def test_a_run_is_trained_again_by_what_its_record_says(folder, arguments):
    pfcli("train", "--dataset", "jokes", "--plm", "bart", *PLACES, *QUICK, *arguments)
    (record,) = records(folder)
    workspace = Workspace(cache=Path("my cache"), runs=Path("elsewhere"))
    command = training(workspace, record, method=record.settings.method)
    pfcli(*shlex.split(command)[1:])
    _, again = records(folder)
    unused = idle(record.settings.method)
    for name, value in vars(record.settings).items():
        assert name in unused or getattr(again.settings, name) == value
    assert again.examples_sha256 == record.examples_sha256


def test_features_are_named_where_there_are_several(folder):
    pfcli("train", "--dataset", "jokes", "--plm", "bart", *PLACES, *QUICK)
    (record,) = records(folder)
    workspace = Workspace(cache=Path("my cache"), runs=Path("elsewhere"))
    assert "--features" not in training(workspace, record, method="promptfuse")
    media = names_of("train", 12) + names_of("test", 6)
    write_features(folder / "my cache", "video", media, encoder="other")
    pfcli(*shlex.split(training(workspace, record, method="promptfuse"))[1:])
    assert records(folder)[1].features == record.features


def test_a_method_with_a_prompt_is_trained_beside_a_run_without_one(folder):
    pfcli("train", "--dataset", "jokes", "--plm", "bart", *PLACES, *QUICK, "--method", "linear")
    (record,) = records(folder)
    workspace = Workspace(cache=Path("my cache"), runs=Path("elsewhere"))
    command = training(workspace, record, method="promptfuse")
    assert "--prompt-length" not in command
    pfcli(*shlex.split(command)[1:])
    assert records(folder)[1].settings.prompt_length == 20
