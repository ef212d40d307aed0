"""`pfcli` as people type it: help, defaults, and errors that say what to do."""

import resource
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from promptfuse.cli import app, main

COMMANDS = (
    "extract", "train", "eval", "explain", "export", "predict", "sweep",
    "report", "demo", "params", "inspect", "verify", "convert", "push", "pull",
)  # fmt: skip


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def failing(monkeypatch, capsys, *arguments: str) -> str:
    monkeypatch.setattr(sys, "argv", ["pfcli", *arguments])
    with pytest.raises(SystemExit, match="2"):
        main()
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    return captured.err


@pytest.mark.parametrize("command", COMMANDS)
def test_each_commands_help_has_an_example(command):
    result = CliRunner().invoke(app, [command, "--help"])
    assert result.exit_code == 0
    assert "Example" in result.output
    assert f"pfcli {command}" in " ".join(result.output.split())


def test_help_is_quick_and_imports_nothing_heavy():
    code = (
        "import sys; sys.argv = ['pfcli', '--help']\n"
        "from promptfuse.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'transformers', 'open_clip', 'numpy', 'pyarrow', 'h5py', 'av'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    seconds = []
    for _ in range(3):
        before = processor_seconds()
        result = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        seconds.append(processor_seconds() - before)
    assert result.stdout.strip().splitlines()[-1] == "[]"
    assert min(seconds) < 0.4  # half of it on an idle machine; other programs do not count


def processor_seconds() -> float:
    """Return what ended child processes have used."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_version():
    result = CliRunner().invoke(app, ["--version"])
    assert result.output.startswith("promptfuse 0.")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train"], "pf/cache holds no dataset; run first: pfcli extract --modality all"),
        (
            ["train", "--method", "lora"],
            "unknown method in the command line 'lora'; choose one of: blackimage",
        ),
        (["train", "--shots", "0"], "shots in the command line is 0; expected greater than 0"),
        (["train", "--lr-prompt", "-1"], "lr_prompt in the command line is -1.0"),
        (
            ["train", "--lr-other", "0"],
            "lr_other in the command line is 0.0; expected greater than 0",
        ),
        (["params", "--plm", "bart"], "unknown model 'bart'; choose one of: "),
        (["params", "--prompt-length", "0"], "prompt_length in the command line is 0"),
        (["train", "--resume", "7"], "no run '7' in pf/runs"),
        (["train", "--dataset", "demo-mustrad"], "in pf/cache; did you mean 'demo-mustard'?"),
        (["train", "--dataset", "jokes"], "in pf/cache; run: pfcli extract --dataset jokes"),
        (["eval"], "pf/runs holds no run; train one first: pfcli train"),
        (["explain"], "pf/runs holds no run; train one first: pfcli train"),
        (
            ["explain", "--max-steps", "9"],
            "max_steps in the command line is 9; expected greater",
        ),
        (["inspect"], "pf/cache holds nothing; run first"),
        (["verify"], "pf/cache holds nothing"),
        (
            ["extract", "--modality", "smell"],
            "unknown modality in the command line 'smell'; choose one of: audio",
        ),
        (["extract", "--data", "x"], "data is x, no such file or folder, of which dataset?"),
        (["extract", "--data", "."], "data is ., of which dataset?"),
        (["extract", "--dataset", "demo-mustrad"], "did you mean 'demo-mustard'?"),
        (["predict", "3", "x.jpg", "--text", "hi"], "no run '3' in pf/runs; train one first"),
        (["predict", "x.safetensors", "x.jpg"], "x.safetensors: no such file; pfcli export"),
        (["report"], "pf/runs holds no run to report; train some first"),
        (["convert"], "give --format: arrow, hdf5"),
        (["convert", "--format", "hdf5"], "no features to convert; run first: pfcli extract"),
        (["compact"], "no features to compact; run first: pfcli extract"),
        (["compact", "--shard-megabytes", "0"], "shard_megabytes in the command line is 0"),
        (["merge", "absent"], "absent: no cache: it has neither"),
        (["merge", "a", "--cache", "a"], "a: the same cache as a; name each once"),
        (["extract", "--dataset", "mine"], "where is mine?"),
        (["extract", "--dataset", "mine", "--data", "x.csv"], "x.csv: no such file"),
        (["extract", "--dataset", "mine", "--data", "x"], "--data x: no such file or folder"),
        (
            ["extract", "--dataset", "mine", "--data", "."],
            "how is . to be read? name its adapter: --adapter activitynet_qa, ",
        ),
        (["extract", "--encoder", "vit"], "of which modality? write --encoder video=vit"),
        (["extract", "--encoder", "vidio=vit"], "'vidio'; choose one of: audio, image, video; did"),
        (["extract", "--option", "fold"], "write --option NAME=VALUE"),
    ],
)
def test_errors_say_what_to_do(monkeypatch, capsys, arguments, message):
    assert message in failing(monkeypatch, capsys, *arguments)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ('{"id": "1", "question": "q", "image": "a.png"}', "--column text=NAME"),
        ('{"id": "1", "text": "q"}', "names no media: give its table a column image, video"),
        ("no json", "rows.jsonl:1: not JSON"),
        ("", "rows.jsonl: holds no row"),
    ],
)
def test_a_table_that_cannot_be_used_is_told_how(monkeypatch, capsys, tmp_path, row, message):
    (tmp_path / "rows.jsonl").write_text(row)
    asked = failing(monkeypatch, capsys, "extract", "--dataset", "mine", "--data", "rows.jsonl")
    assert message in asked


def test_a_file_where_a_folder_is_wanted_is_named(monkeypatch, capsys, tmp_path):
    (tmp_path / "taken").touch()
    for name in ("cache", "runs"):
        asked = failing(monkeypatch, capsys, "train", f"--{name}", "taken")
        assert f"{name} is taken, which is a file; name a folder" in asked


def test_a_config_file_counts(monkeypatch, capsys, tmp_path):
    (tmp_path / "promptfuse.toml").write_text('cache = "elsewhere"\n')
    assert "elsewhere holds no dataset" in failing(monkeypatch, capsys, "train")
    assert "names no dataset; add dataset = " in failing(monkeypatch, capsys, "extract")
    (tmp_path / "promptfuse.toml").write_text("[train]\nshot = 3\n")
    assert "unknown key in [train]" in failing(monkeypatch, capsys, "train")
