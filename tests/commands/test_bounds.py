"""Numbers out of range are refused by every command, and what is broken off leaves no run."""

import subprocess
import sys
import typing

import pytest
from annotated_types import Ge, Gt
from typer.testing import CliRunner

from promptfuse.cli import app, main
from promptfuse.library.workspace import SECTIONS
from promptfuse.settings import Help, declared
from promptfuse.train.record import RECORD
from promptfuse.train.runs import folders
from promptfuse.train.runs.folders import run_folders

from ..train.small_bart import save_small_bart
from ..train.small_cache import names_of, write_features, write_sarcasm

FILES = {"predict": ("1", "a.png")}
QUICK = ("--plm", "bart", "--max-steps", "2", "--prompt-length", "3")


def bounds_of(hint) -> list[Gt | Ge]:
    """Return the bounds anywhere in a type, but for those of tables' values."""
    if typing.get_origin(hint) is typing.Annotated:
        marks = [mark for mark in hint.__metadata__ if isinstance(mark, Gt | Ge)]
        return marks + bounds_of(hint.__origin__)
    return [bound for part in typing.get_args(hint) for bound in bounds_of(part)]


def bounded():
    for section, (kind, _) in SECTIONS.items():
        hints = typing.get_type_hints(kind, include_extras=True)
        told: Help
        for name, members, told in declared(kind):
            for bound in bounds_of(hints[name]):
                below = bound.gt if isinstance(bound, Gt) else bound.ge - 1
                option = told.flags[0] if told.flags else f"--{name.replace('_', '-')}"
                text = str(float(below) if float in members else below)
                yield pytest.param(section, name, option, text, id=f"{section} {option} {text}")


OPTIONS = list(bounded())


@pytest.fixture
def failing(tmp_path, monkeypatch, capsys):
    """Type a command that must end in a clear error; give the error."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["pfcli", *arguments])
        with pytest.raises(SystemExit, match="2"):
            main()
        return capsys.readouterr().err

    return run


@pytest.fixture
def jokes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_sarcasm(tmp_path / "pf" / "cache")
    media = names_of("train", 12) + names_of("test", 6)
    write_features(tmp_path / "pf" / "cache", "video", media)
    save_small_bart(tmp_path / "bart")
    return tmp_path


def test_the_options_that_have_bounds_are_all_there():
    assert {param.id for param in OPTIONS} >= {
        "train --data-seed -1",
        "train --fold 0",
        "train --dev 0",
        "train --lr-prompt 0.0",
        "eval --max-new-tokens 0",
        "predict --max-new-tokens 0",
        "explain --threads 0",
        "sweep --jobs 0",
        "sweep --shots 0",
        "demo --seeds 0",
        "params --prompt-length 0",
    }


@pytest.mark.parametrize(("section", "name", "option", "text"), OPTIONS)
def test_a_number_below_its_bound_is_refused(failing, section, name, option, text):
    error = failing(section, *FILES.get(section, ()), f"{option}={text}")
    assert f"error: {name}" in error
    assert f" in the command line is {text}; expected greater than" in error


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
@pytest.mark.parametrize("option", ["--lr-prompt", "--lr-other"])
def test_a_rate_is_a_finite_number(failing, option, value):
    error = failing("train", f"{option}={value}")
    assert f"{option[2:].replace('-', '_')} in the command line is {value}" in error


def test_a_rate_that_is_far_too_high_leaves_no_prompt(jokes, failing):
    error = failing("train", *QUICK, "--lr-prompt", "1e38")
    assert "--lr-prompt 1e+38" in error
    assert not list(jokes.glob("pf/runs/*/prompt.safetensors"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--method", "linear"), "--method is linear, and run 0001-jokes-promptfuse-full-seed0 "),
        (("--shots", "4"), "--shots is 4, and run 0001-jokes-promptfuse-full-seed0 was started w"),
        (("--lr", "0.125"), "--lr-prompt is 0.125, and run 0001-jokes-promptfuse-full-seed0 was "),
        (("--seed", "3"), "--seed is 3, and run 0001-jokes-promptfuse-full-seed0 was started wi"),
        (("--dataset", "puns"), "--dataset puns: run 0001-jokes-promptfuse-full-seed0 trains on "),
    ],
)
def test_an_interrupted_run_goes_on_with_its_own_settings_alone(jokes, failing, arguments, message):
    assert CliRunner().invoke(app, ("train", *QUICK)).exit_code == 0
    (folder,) = run_folders(jokes / "pf" / "runs")
    (folder / "prompt.safetensors").unlink()  # as if it had been interrupted
    assert message in failing("train", "--resume", "1", *arguments)
    assert not (folder / "prompt.safetensors").exists()
    result = CliRunner().invoke(app, ("train", "--resume", "1", *QUICK, "--checkpoint-every", "9"))
    assert result.exit_code == 0, (result.output, result.exception)
    assert (folder / "prompt.safetensors").exists()


def test_a_run_that_found_the_disk_full_is_not_the_latest(jokes, failing, monkeypatch):
    assert CliRunner().invoke(app, ("train", *QUICK)).exit_code == 0

    def full(folder, record):
        (folder / RECORD).touch()
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(folders, "write_record", full)
        assert "No space left on device" in failing("train", *QUICK, "--method", "blindprompt")
    (folder,) = run_folders(jokes / "pf" / "runs")
    result = CliRunner().invoke(app, ("eval",))
    assert result.output.startswith(f"{folder.name} on jokes's split 'test'")


def test_two_trainings_at_once_are_two_runs(jokes):
    command = [sys.executable, "-m", "promptfuse", "train", *QUICK]
    both = [subprocess.Popen(command, stdout=subprocess.DEVNULL) for _ in range(2)]
    assert [process.wait() for process in both] == [0, 0]
    names = [folder.name for folder in run_folders(jokes / "pf" / "runs")]
    assert names == [f"000{number}-jokes-promptfuse-full-seed0" for number in (1, 2)]
    assert len(list(jokes.glob("pf/runs/*/prompt.safetensors"))) == 2


def test_the_package_runs_as_a_module():
    done = subprocess.run(
        [sys.executable, "-m", "promptfuse", "--help"], capture_output=True, text=True, check=True
    )
    assert "extract" in done.stdout
    assert done.stderr == ""


def test_features_that_are_not_there_are_answered_with_those_that_are(failing, jokes):
    (path,) = (jokes / "pf" / "cache" / "features" / "video").iterdir()
    error = failing("train", *QUICK, "--features", "video=abcdef")
    assert f"unknown video features in pf/cache 'abcdef'; choose one of: {path.name}" in error


def test_an_empty_cache_has_nothing_to_verify(failing, tmp_path):
    (tmp_path / "pf" / "cache").mkdir(parents=True)
    for command in ("verify", "inspect", "convert"):
        error = failing(command, *(["--format", "hdf5"] if command == "convert" else []))
        assert "error: pf/cache holds n" in error
        assert "run first: pfcli extract" in error
