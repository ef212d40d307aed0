"""`pfcli sweep` and `pfcli report` as people type them, on a small cache and a small model."""

import csv
import json
import sys

import numpy as np
import PIL.Image
import pytest
from typer.testing import CliRunner

from promptfuse.cache.examples import DatasetInfo, Example, write_examples
from promptfuse.cli import app, main
from promptfuse.commands.command_line import typed_values
from promptfuse.commands.report import run_report
from promptfuse.errors import ConfigError, UnknownName
from promptfuse.library.workspace import Workspace
from promptfuse.settings import read_settings, read_toml
from promptfuse.train.report.settings import ReportSettings
from promptfuse.train.sweep.grid import GridSettings, checked_grid, read_grid
from promptfuse.train.sweep.settings import SweepSettings

from ..train.report.made_runs import made_run
from ..train.small_bart import save_small_bart
from ..train.small_cache import names_of, write_features, write_sarcasm

QUICK = ("--set", "max_steps=2", "--set", "prompt_length=3")


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_sarcasm(tmp_path / "pf" / "cache")
    write_features(tmp_path / "pf" / "cache", "video", names_of("train", 12) + names_of("test", 6))
    save_small_bart(tmp_path / "bart")
    (tmp_path / "promptfuse.toml").write_text('[train]\nplm = "bart"\nmodalities = ["video"]\n')
    return tmp_path


def pfcli(*arguments, code=0):
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == code, (result.output, result.exception)
    return result.output


def failing(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["pfcli", *arguments])
    with pytest.raises(SystemExit, match="2"):
        main()
    return capsys.readouterr().err


def test_a_sweep_and_its_report(workspace):
    arguments = ("sweep", "--method", "promptfuse,noprompt", "--shots", "4,99", *QUICK)
    output = pfcli(*arguments, "--name", "mine", "--seeds", "2", code=1)
    assert "sweep mine on jokes: 3 cells, 5 runs; 0 cells are done" in output
    assert "Failed in mine" in output
    assert "--shots 99: there are 12" in " ".join(output.split())
    assert "next: pfcli report --sweep mine" in output
    again = pfcli(*arguments, "--name", "mine", "--seeds", "2", "--jobs", "2", code=1)
    assert "3 cells, 5 runs; 2 cells are done" in again
    text = pfcli("report", "--sweep", "mine")
    for part in ("Table 1. Trainable", "Table 4. Methods: jokes", "The paper's table 4", "Failed"):
        assert part in text
    pfcli("report", "--sweep", "mine", "--format", "html", "--output", "out/page.html")
    page = (workspace / "out" / "page.html").read_text()
    assert "ShotsError" in page
    assert "nice day" in page


def test_each_format_is_written(workspace):
    pfcli("sweep", "--shots", "4,6", *QUICK)
    assert "\\begin{tabular}" in pfcli("report", "--table", "4", "--format", "latex")
    assert "| shots | method |" in pfcli("report", "--table", "4", "--format", "markdown")
    output = pfcli("report", "--table", "4", "--format", "csv").split("\n\n")[0].splitlines()
    assert output[0].startswith("# Table 4")
    rows = list(csv.DictReader(output[1:]))
    (metrics,) = (workspace / "pf/runs").glob("0001-*/eval-test/metrics.json")
    f1 = json.loads(metrics.read_text())["metrics"]["values"]["f1"]
    assert (rows[0]["shots"], float(rows[0]["f1"])) == ("4", f1)
    assert "wrote pf/report.html" in pfcli("report", "--format", "html")


def test_a_report_is_not_written_in_place_of_a_folder(workspace, monkeypatch, capsys):
    made_run(workspace / "pf" / "runs", {"f1": 50.0})
    error = failing(monkeypatch, capsys, "report", "--output", "bart")
    assert "error: --output bart is a folder; name a file in it" in error
    assert (workspace / "bart" / "config.json").exists()


def test_a_preset_says_what_it_leaves_out(workspace):
    output = pfcli("sweep", "--preset", "table7", "--set", "plm=bart", *QUICK, "--seeds", "1")
    assert "sweep table7-jokes-" in output
    assert "2 cells, 2 runs" in output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sweep", "--set", "epochs"], "--set epochs: write --set NAME=VALUE,VALUE"),
        (["sweep", "--set", "colour=red"], "unknown key in the command line 'colour'"),
        (
            ["sweep", "--set", "epochs=high"],
            "epochs in the command line is 'high'; expected a whole",
        ),
        (["sweep", "--shots", "some"], "shots.0 in the command line is 'some'; expected "),
        (["sweep", "--name", "a/b"], "--name a/b: a folder's name is expected, no path"),
        (["sweep", "--seeds", "0"], "seeds in the command line is 0"),
        (["sweep", "--method", "lora"], "unknown method in the command line 'lora'"),
        (["sweep", "--preset", "table3"], "unknown preset in the command line 'table3'"),
        (["sweep", "--grid", "none.toml"], "none.toml: no such file; a TOML file is expected"),
        (["sweep", "--dataset", "joks"], "no dataset 'joks' in pf/cache; did you mean 'jokes'?"),
        (["report"], "pf/runs holds no run to report; train some first: pfcli sweep"),
        (["report", "--sweep", "x"], "unknown sweep in pf/sweeps 'x'"),
        (["report", "--table", "3"], "table is 3; the tables that runs fill are: 1, 2, 4"),
    ],
)
def test_errors_say_what_to_do(workspace, monkeypatch, capsys, arguments, message):
    assert message in failing(monkeypatch, capsys, *arguments)


def test_tables_that_runs_do_not_fill_are_named(workspace, monkeypatch, capsys):
    made_run(workspace / "pf" / "runs")
    assert "none of the 1 runs in pf/runs is evaluated" in failing(monkeypatch, capsys, "report")
    made_run(workspace / "pf" / "runs", {"f1": 3.0})
    error = failing(monkeypatch, capsys, "report", "--table", "7")
    assert "these runs do not fill table 7; they fill: 1, 4" in error


def typed_choice(typed):
    return checked_grid(
        read_settings(SweepSettings, typed_values(SweepSettings, typed), "typed"), "it"
    )


def file_choice(path):
    return read_grid(read_toml(path), str(path))


def test_the_command_lines_grid():
    typed = {
        "method": ["promptfuse, blindprompt"],
        "shots": ["8,32", "full"],
        "seeds": 3,
        "set": ["prompt_length=5,10", "modalities=video,video+audio", "fields=image:cls,none"],
    }
    assert typed_choice(typed) == GridSettings(
        ("promptfuse", "blindprompt"),
        (8, 32, "full"),
        3,
        {
            "prompt_length": (5, 10),
            "modalities": (("video",), ("video", "audio")),
            "fields": ({"image": "cls"}, {}),
        },
    )
    assert typed_choice({}) == GridSettings()


def test_a_files_grid(tmp_path):
    file = tmp_path / "grid.toml"
    file.write_text(
        'method = "promptfuse"\nshots = [8, "full"]\nseeds = 2\n[set]\nepochs = [2, 1]\n'
        'modalities = [["video"], ["audio"]]\n[[variants]]\n[[variants]]\nprompt_init = "random"\n'
    )
    assert file_choice(file) == GridSettings(
        ("promptfuse",),
        (8, "full"),
        2,
        {"epochs": (2, 1), "modalities": (("video",), ("audio",))},
        ({}, {"prompt_init": "random"}),
    )


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("method = [", ConfigError, r"grid\.toml is not TOML"),
        ("shot = 3", UnknownName, r"'shot'; choose one of: method, seeds, set, shots"),
        ("[set]\nsize = 3", UnknownName, r"unknown key in .*grid\.toml 'size'"),
        (
            "[set]\nepochs = ['a']",
            ConfigError,
            r"epochs in .*grid\.toml is 'a'; expected a whole number",
        ),
        ("set = 3", ConfigError, r"set in .* is 3; expected a table"),
        ("variants = [3]", ConfigError, r"variants\.0 in .* is 3; expected a table"),
        ("shots = [0]", ConfigError, r"shots\.0.* in .* is 0; expected"),
        ("seeds = 'x'", ConfigError, r"seeds in .* is 'x'; expected a whole number"),
    ],
)
def test_what_a_file_cannot_say(tmp_path, text, error, message):
    (tmp_path / "grid.toml").write_text(text)
    with pytest.raises(error, match=message):
        file_choice(tmp_path / "grid.toml")


def test_pictures_come_from_the_data_folder_and_from_nowhere_else(tmp_path):
    paths = ("in.png", "../out.png", "broken.png", "absent.png")
    examples = [
        Example(id=str(index), text="?", answer="red", answers=("red",), paths={"image": path})
        for index, path in enumerate(paths)
    ]
    info = DatasetInfo("shapes", "vqav2", "vqa", modalities=("image",), splits={"val": 4})
    write_examples(tmp_path / "cache", info, {"val": examples})
    (tmp_path / "data").mkdir()
    pixels = np.full((300, 200, 3), 90, dtype=np.uint8)
    for name in ("data/in.png", "out.png"):
        PIL.Image.fromarray(pixels).save(tmp_path / name)
    (tmp_path / "data" / "broken.png").write_bytes(b"no picture")
    made_run(
        tmp_path / "runs", {"overall": 1.0}, split="val", dataset="shapes", task="vqa",
        answers={"0": "red"},
    )  # fmt: skip
    workspace = Workspace(
        data=str(tmp_path / "data"), cache=tmp_path / "cache", runs=tmp_path / "runs"
    )
    run_report(workspace, ReportSettings(format="html"))
    page = (tmp_path / "report.html").read_text()
    assert page.count("data:image/jpeg;base64,") == 1
    assert '"in.png": {"height": 144, "src": "data:image/jpeg' in page  # 200 × 300, made smaller


def test_a_sweep_needs_a_job(workspace, monkeypatch, capsys):
    assert "jobs in the command line is 0; expected greater than 0" in failing(
        monkeypatch, capsys, "sweep", "--method", "noprompt", "--jobs", "0"
    )
