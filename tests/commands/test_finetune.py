"""`finetune` as people type it: decoded media into the cache, encoders trained on them."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from promptfuse.cli import app
from promptfuse.train.checkpoint import load_trained
from promptfuse.train.record import PROMPT, read_record
from promptfuse.train.runs.folders import find_run

from ..extract.media_files import make_clip
from ..extract.tiny_models import save_listener, save_tower, write_processor
from ..train.small_bart import save_small_bart

WIDTH = 16  # of the small language model
QUICK = ("--max-steps", "2", "--batch-size", "3")


def pfcli(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == code, (result.output, result.exception)
    return " ".join(result.output.split())


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with three models, a table of images and a table of clips."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")  # so that no word of a table is cut off from the next
    save_tower(tmp_path / "vit", hidden_size=WIDTH)
    save_listener(tmp_path / "wav2vec2", hidden_size=WIDTH)
    save_small_bart(tmp_path / "bart")
    data = tmp_path / "data"
    data.mkdir()
    (tmp_path / "promptfuse.toml").write_text('[train]\nplm = "bart"\n')
    clip = make_clip(data)
    rng = np.random.default_rng(0)
    rows = []
    for number in range(8):
        name = f"{number // 2}.png"
        Image.fromarray(rng.integers(0, 256, (40, 30, 3), dtype=np.uint8)).save(data / name)
        split = "train" if number < 6 else "val"
        row = {"id": str(number), "text": "is it red", "answer": ["yes", "no"][number % 2]}
        rows.append({**row, "image": name, "split": split})
    clips = [
        {
            **row,
            "video": clip.name,
            "audio": clip.name,
            "start_seconds": at,
            "end_seconds": at + 0.8,
        }
        for row, at in zip(rows, np.arange(8) * 0.1, strict=True)
    ]
    for row in clips:
        del row["image"]
    for name, table in (("images", rows), ("clips", clips)):
        (data / f"{name}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in table))
    return tmp_path


def extract(name: str, modality: str, *encoders: str) -> str:
    chosen = [part for one in encoders for part in ("--encoder", one)]
    return pfcli(
        "extract",
        "--dataset",
        name,
        "--data",
        f"data/{name}.jsonl",
        "--modality",
        modality,
        *chosen,
    )


def test_images_from_extraction_to_answers(folder):
    train = ("train", "--dataset", "images", *QUICK)
    assert "next: pfcli train --method promptfuse" in extract("images", "image", "vit")
    output = pfcli(*train, "--method", "finetune", code=1)
    assert output == ""  # the error is raised, for `main` to print
    output = extract("images", "image", "pixels:vit")
    assert "next: pfcli train --method finetune --dataset images" in output
    assert " pixels:vit " in pfcli("inspect")
    shutil.rmtree(folder / "data")
    output = pfcli(*train, "--method", "finetune", "--seeds", "2", "--lr-other", "0.01")
    assert "finetune on images (image + text), 6 examples" in output
    assert "lr 0.01 for encoders" in output
    first, second = (load_trained(find_run(folder / "pf/runs", n) / PROMPT)[0] for n in ("1", "2"))
    assert {name.split(".")[0] for name in first} == {"prompt", "encoder"}
    assert any(not torch.equal(one, second[name]) for name, one in first.items())
    record = read_record(find_run(folder / "pf/runs", "1"))
    assert record.features["image"].encoder == "vit"
    assert record.trainable_parameters == sum(one.numel() for one in first.values())
    assert "finetune" in pfcli("eval", "1")
    assert "promptfuse on images" in pfcli(*train, "--method", "promptfuse")
    report = pfcli("report", "--table", "1")
    assert f"finetune bart 16 image + text {record.trainable_parameters} 86M" in report


def test_clips_and_another_field(folder):
    extract("clips", "video,audio", "video=pixels:vit", "audio=samples:wav2vec2")
    shutil.rmtree(folder / "data")
    fields = ("--fields", "video=cls")
    pfcli("train", "--dataset", "clips", "--method", "finetune", *QUICK, *fields)
    record = read_record(find_run(folder / "pf/runs", "1"))
    assert {name: use.field for name, use in record.features.items()} == {
        "video": "cls",
        "audio": "last_hidden_state",
    }
    pfcli("eval")
    refused = CliRunner().invoke(app, ("export", "1"))  # a prompt's file cannot hold an encoder
    assert "was trained by finetune, which changes the encoder" in str(refused.exception)


def test_an_encoder_that_changed_its_preprocessing_is_refused(folder):
    extract("images", "image", "pixels:vit")
    write_processor(folder / "vit", resample=3)
    arguments = ("train", "--dataset", "images", "--method", "finetune", *QUICK)
    result = CliRunner().invoke(app, arguments)
    assert "would not make the image features" in str(result.exception)
    assert "resample: 2 here, 3 wanted" in str(result.exception)


def test_a_sweep_fails_only_the_cell_that_lacks_decoded_media(folder):
    extract("images", "image", "vit")
    sweep = ("sweep", "--preset", "table2", "--dataset", "images", "--shots", "4", "--seeds", "1")
    sweep += ("--set", "max_steps=1", "--set", "prompt_length=2", "--jobs", "2")
    output = pfcli(*sweep, code=1)
    assert "CacheError: the cache holds no decoded media, which finetune needs, of images" in output
    assert "run: pfcli extract --modality image --encoder pixels --dataset images" in output
    record = json.loads(next((folder / "pf/sweeps").glob("*/sweep.json")).read_text())
    status = {one["settings"]["method"]: one["status"] for one in record["cells"]}
    assert status.pop("finetune") == "failed"
    assert set(status.values()) == {"done"}
    extract("images", "image", "pixels:vit")
    assert "7 cells, 7 runs; 6 cells are done" in pfcli(*sweep)
