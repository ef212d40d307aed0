import json
import sys

import pytest
from PIL import Image

from promptfuse.cli import main
from promptfuse.library.workspace import shipped


@pytest.fixture
def table(tmp_path, monkeypatch):
    """Return a table of five images: two good (one under a wrong name), three bad."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "data"
    folder.mkdir()
    Image.new("RGB", (40, 30), "red").save(folder / "good.jpg")
    Image.new("RGB", (40, 30), "blue").save(folder / "misnamed.png", format="JPEG")
    (folder / "empty.jpg").touch()
    names = ["good.jpg", "misnamed.png", "empty.jpg", "absent.jpg", "../outside.jpg"]
    (tmp_path / "outside.jpg").write_bytes(b"x")
    rows = [
        {"id": str(number), "text": "q", "answer": "a", "image": name}
        for number, name in enumerate(names)
    ]
    (folder / "rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return "data/rows.jsonl"


def pfcli(monkeypatch, *arguments: str, code: int) -> None:
    monkeypatch.setattr(sys, "argv", ["pfcli", *arguments])
    with pytest.raises(SystemExit, match=f"^{code}$"):
        main()


def test_what_is_refused_is_named_counted_and_decides_the_exit_status(table, monkeypatch, capsys):
    command = ["extract", "--dataset", "mine", "--data", table, "--modality", "image"]
    command += ["--encoder", shipped().row("demo-vqa").encoder["image"]]
    pfcli(monkeypatch, *command, code=1)
    output = capsys.readouterr().out
    assert "media that were refused: " in output
    for reason, name in (
        ("empty", "empty.jpg"),
        ("missing", "absent.jpg"),
        ("outside-data-folder", "../outside.jpg"),
    ):
        (line,) = [line for line in output.splitlines() if line.startswith(f"{reason} ")]
        assert name in line
    assert "3 media failed; to accept that: --max-failures 3" in output
    pfcli(monkeypatch, *command, "--max-failures", "3", code=0)
    assert "next: pfcli train" in capsys.readouterr().out


def test_what_stopped_early_has_a_status_of_its_own_and_goes_on(table, monkeypatch, capsys):
    command = ["extract", "--dataset", "mine", "--data", table, "--max-failures", "3"]
    command += ["--encoder", shipped().row("demo-vqa").encoder["image"]]
    pfcli(monkeypatch, *command, "--time-limit", "0.001", code=75)
    told = "stopped (time limit of 0.001) with 2 media left to encode; the same command goes on"
    assert told in capsys.readouterr().err
    pfcli(monkeypatch, *command, "--time-limit", "1h", code=0)
    pfcli(monkeypatch, *command, "--time-limit", "1x", code=2)
    assert "time_limit is '1x'; expected seconds, or 90m, or 2h" in capsys.readouterr().err
