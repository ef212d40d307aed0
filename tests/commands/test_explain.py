"""`pfcli explain` as people type it, on small media, small random encoders and a small model."""

import io
import json
import shutil
import sys
from dataclasses import replace

import numpy as np
import PIL.Image
import pytest
import torch
from rich.console import Console
from typer.testing import CliRunner

from promptfuse.cli import app, main
from promptfuse.commands import explain
from promptfuse.library import training
from promptfuse.train.explain.explanation import read_explanation

from ..extract.media_files import noise_frames, tone, write_clip
from ..extract.tiny_models import save_listener, save_tower
from ..train.small_bart import save_small_bart

WIDTH_FIX = ("--width-fix", "orthogonal")
TRAIN = ("--max-steps", "2", "--batch-size", "2", "--prompt-length", "3", *WIDTH_FIX)


def pfcli(*arguments, code=0):
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == code, (result.output, result.exception)
    return result.output


def failing(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["pfcli", *arguments])
    with pytest.raises(SystemExit, match="2"):
        main()
    return " ".join(capsys.readouterr().err.split())


def write_table(folder, rows):
    (folder / "mine.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Return a folder where a promptfuse run on four images has been trained."""
    folder = tmp_path_factory.mktemp("pictures")
    data = folder / "data"
    data.mkdir()
    random = np.random.default_rng(0)
    rows = []
    for index in range(4):
        pixels = random.integers(0, 255, (40, 50, 3), dtype=np.uint8)
        PIL.Image.fromarray(pixels).save(data / f"{index}.png")
        split = "train" if index < 2 else "test"
        text = "what colour is the square"
        rows.append(
            {"id": f"{split}/{index}", "text": text, "answer": "red", "image": f"{index}.png"}
            | {"split": split}
        )
    write_table(data, rows)
    save_tower(folder / "vit")
    save_small_bart(folder / "bart")
    (folder / "promptfuse.toml").write_text(
        'dataset = "mine"\ndata = "data/mine.jsonl"\n[train]\nplm = "bart"\n'
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        pfcli("extract", "--modality", "image", "--encoder", "vit")
        pfcli("train", "--method", "promptfuse", *TRAIN)
    return folder


@pytest.fixture
def workspace(pictures, tmp_path, monkeypatch):
    shutil.copytree(pictures, tmp_path / "own")
    monkeypatch.chdir(tmp_path / "own")
    return tmp_path / "own"


def test_methods_stand_side_by_side(workspace):
    output = pfcli("explain", "--example", "test/3", "--example", "test/2")
    assert "no blindprompt run to set beside it; to train one: pfcli train --dataset mine " in (
        " ".join(output.split())
    )
    assert "--method blindprompt --width-fix orthogonal" in output  # the file names the model
    (run,) = (workspace / "pf/runs").glob("[0-9]*")
    assert {path.name for path in (run / "explain").iterdir()} == {"test%2f2", "test%2f3"}
    found = read_explanation(run / "explain" / "test%2f3")
    assert (found.example, found.split, found.truth, found.baseline) == (
        "test/3", "test", "red", "black",
    )  # fmt: skip
    assert [(one.method, one.run) for one in found.methods] == [
        ("noprompt", None), ("promptfuse", run.name)
    ]  # fmt: skip
    assert [word for word, _ in found.methods[0].tokens] == "what colour is the square".split()
    for one in found.methods:
        total = one.media["image"] + sum(value for _, value in one.tokens)
        assert total - one.change == pytest.approx(one.delta, abs=1e-4)
        assert one.converged
        assert f"{one.relative_delta:.1e}" in output
    report = pfcli("eval") and pfcli("report", "--format", "html")
    assert "wrote pf/report.html" in report
    page = (workspace / "pf/report.html").read_text()
    assert page.count("data-explained") == 2
    assert page.count("data:image/png;base64,") == 4  # light and dark


def test_a_trained_sister_is_shown_and_an_unlike_one_is_not(workspace):
    pfcli("train", "--method", "blindprompt", *TRAIN)
    pfcli("train", "--method", "blindprompt", "--shots", "1", *TRAIN)
    pfcli("train", "--method", "linear", *TRAIN)
    output = pfcli("explain", "1")
    assert "no blindprompt run" not in output
    (run,) = (workspace / "pf/runs").glob("0001-*")
    found = read_explanation(run / "explain" / "test%2f2")
    assert [one.run for one in found.methods][2].startswith("0002-mine-blindprompt-full-seed0")
    pfcli("explain", "4", "--baseline", "mean")
    (run,) = (workspace / "pf/runs").glob("0004-*")
    found = read_explanation(run / "explain" / "test%2f2")
    assert [one.method for one in found.methods] == [
        "noprompt", "promptfuse", "blindprompt", "linear"
    ]  # fmt: skip
    assert found.baseline == "mean"


def test_a_large_delta_is_warned_of(workspace, monkeypatch):
    from promptfuse.train.explain import explainer

    own = explainer.attribute

    def rough(answer, **given):
        found = own(answer, **given)
        return replace(found, delta=0.25 * found.change)

    monkeypatch.setattr(explainer, "attribute", rough)
    output = " ".join(pfcli("explain").split())
    for method in ("noprompt", "promptfuse"):
        assert (
            f"warning: {method}: the attributions miss the change in log-odds by 25.0 %" in output
        )


def test_what_cannot_be_explained_says_why(workspace, monkeypatch, capsys):
    error = failing(monkeypatch, capsys, "explain", "--example", "9")
    assert "example '9' is not in split 'test' of mine; its ids are such as test/2, test/3" in error
    error = failing(monkeypatch, capsys, "explain", "--split", "dev")
    assert "'dev'" in error
    error = failing(monkeypatch, capsys, "explain", "--data", "nowhere")
    assert "the media of mine are needed again" in error
    PIL.Image.new("RGB", (50, 40), "blue").save(workspace / "data/2.png")
    error = failing(monkeypatch, capsys, "explain")
    assert "2.png is not the file that its features were made of" in error
    (workspace / "data/2.png").unlink()
    assert "2.png: no such file" in failing(monkeypatch, capsys, "explain")
    (workspace / "away.png").write_bytes((workspace / "data/3.png").read_bytes())
    (workspace / "data/2.png").symlink_to(workspace / "away.png")
    error = failing(monkeypatch, capsys, "explain")
    assert "2.png: leads outside the data folder" in error


def test_another_encoder_in_the_old_place_is_refused(pictures, workspace, monkeypatch, capsys):
    kept = pictures / "kept" / "vit"  # a folder's own name is the encoder's id
    kept.parent.mkdir()
    shutil.move(pictures / "vit", kept)
    try:
        save_tower(pictures / "vit", seed=1)
        error = failing(monkeypatch, capsys, "explain")
        moved = pfcli("explain", "--encoder", f"image={kept}")
    finally:
        shutil.rmtree(pictures / "vit")
        shutil.move(kept, pictures / "vit")
    assert "vit would not make the image features" in error
    assert "explanation.png" in moved


def test_a_black_image_explains_nothing(workspace, monkeypatch, capsys):
    pfcli("train", "--method", "blackimage", *TRAIN)
    error = failing(monkeypatch, capsys, "explain")
    assert "was shown a black image and silence whatever the example" in error


def test_a_live_encoder_that_disagrees_with_the_cache_is_refused(workspace, monkeypatch, capsys):
    from promptfuse.extract.encoders.built_model import LiveEncoder

    own = LiveEncoder.__call__
    monkeypatch.setattr(LiveEncoder, "__call__", lambda *given: own(*given) * 1.1)
    error = failing(monkeypatch, capsys, "explain")
    assert "the live image encoder 'vit' and the cached features" in error
    assert "of example test/2 are 10.0 % apart" in error


def test_frames_and_sound_are_explained(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = tmp_path / "data"
    data.mkdir()
    rows = []
    for index in range(4):
        frames = noise_frames(4, width=32, height=32, seed=index)
        sound = tone(0.4, 8000, hertz=200 + 50 * index)
        write_clip(data / f"{index}.mp4", videos=[frames], sounds=[sound], rate_hz=8000)
        rows.append(
            {"id": str(index), "text": "nice day", "answer": str(index % 2 == 0)}
            | {"video": f"{index}.mp4", "audio": f"{index}.mp4"}
            | {"split": "train" if index < 2 else "test"}
        )
    write_table(data, rows)
    save_tower(tmp_path / "vit")
    save_listener(tmp_path / "ears")
    save_small_bart(tmp_path / "bart")
    (tmp_path / "promptfuse.toml").write_text(
        'dataset = "mine"\ndata = "data/mine.jsonl"\n[train]\nplm = "bart"\n'
    )
    encoders = ("--encoder", "video=vit", "--encoder", "audio=ears", "--frames", "3")
    labels = ("--option", 'labels=["True","False"]', "--option", "positive=True")
    pfcli("extract", *encoders, *labels)
    pfcli("train", "--method", "blindprompt", *TRAIN)
    output = pfcli("explain")
    (run,) = (tmp_path / "pf/runs").glob("[0-9]*")
    found = read_explanation(run / "explain" / "2")
    assert [one.method for one in found.methods] == ["noprompt", "blindprompt"]
    for one in found.methods:
        assert one.answer in ("True", "False")
        assert set(one.media) == {"video", "audio"}
        assert one.steps <= 1600
    picture = PIL.Image.open(run / "explain" / "2" / "explanation.png")
    assert picture.width > 400
    assert "no promptfuse run to set beside it" in output


def test_what_is_being_done_is_shown_from_the_start(workspace, monkeypatch):
    screen = io.StringIO()
    drawn_when_loading = []
    own = training.load

    def load(*given, **named):
        drawn_when_loading.append(screen.getvalue())
        return own(*given, **named)

    monkeypatch.setattr(training, "load", load)
    monkeypatch.setattr(
        explain, "Console", lambda **_: Console(file=screen, force_terminal=True, width=100)
    )
    pfcli("explain")
    (before,) = drawn_when_loading
    assert "load libraries" in before
    drawn = screen.getvalue()
    stages = ("load the encoders", "decode the media of test/2", "walk the path of promptfuse")
    places = [drawn.find(stage) for stage in stages]
    assert places == sorted(places)
    assert -1 not in places


def test_nothing_of_it_is_drawn_where_there_is_no_terminal(workspace, capsys):
    pfcli("explain")
    assert "load" not in capsys.readouterr().err


def test_a_pass_that_does_not_fit_is_halved(workspace, monkeypatch, capsys):
    from promptfuse.train.explain import explainer

    own, asked = explainer.attribute, []

    def attribute(answer, *, integration, **given):
        asked.append(integration.units)
        if integration.units > 4:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return own(answer, integration=integration, **given)

    monkeypatch.setattr(explainer, "attribute", attribute)
    assert "wrote" in pfcli("explain")
    assert asked == [16, 8, 4] * 2  # of noprompt and promptfuse
    (run,) = (workspace / "pf/runs").glob("[0-9]*")
    assert all(one.converged for one in read_explanation(run / "explain" / "test%2f2").methods)
