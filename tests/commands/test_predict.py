"""`pfcli export` and `pfcli predict` as people type them, on small encoders and models."""

import contextlib
import json
import shlex
import shutil
import sys

import numpy as np
import PIL.Image
import pytest
from safetensors import safe_open
from typer.testing import CliRunner

from promptfuse.cache.checked import MEMO_NAME
from promptfuse.cache.keys import file_sha256
from promptfuse.cache.store import feature_sets
from promptfuse.cli import app, main
from promptfuse.train.checkpoint import sealed

from ..extract.media_files import noise_frames, tone, write_clip
from ..extract.tiny_models import save_listener, save_tower
from ..train.small_plms import save_small

WORDS = ("nice day", "what colour is the square", "how many", "is the square red")
ANSWERS = ("red", "two", "yes", "no")
TRAIN = ("--plm", "plm", "--width-fix", "orthogonal", "--batch-size", "4")
TRAIN += ("--prompt-length", "3", "--epochs", "99")


class Typed:
    """Types commands in the test's folder."""

    def __init__(self, monkeypatch, capsys):
        self.monkeypatch, self.capsys = monkeypatch, capsys

    def __call__(self, *arguments: str, code: int = 0) -> str:
        self.monkeypatch.setattr(sys, "argv", ["pfcli", *arguments])
        with pytest.raises(SystemExit, match=f"^{code}$"):
            main()
        captured = self.capsys.readouterr()
        return captured.err if code == 2 else captured.out


@pytest.fixture
def pfcli(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    return Typed(monkeypatch, capsys)


def write_rows(path, rows):
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))


def read_rows(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def image_rows(folder, count=8):
    rows = []
    for number in range(count):
        pixels = np.random.default_rng(number).integers(0, 256, (24, 30, 3), dtype=np.uint8)
        PIL.Image.fromarray(pixels).save(folder / f"{number}.png")
        rows.append(
            {
                "id": f"q{number}",
                "text": WORDS[number % 4],
                "answer": ["yes", "no"][number % 2],
                "image": f"{number}.png",
                "split": "train" if number < 4 else "test",
            }
        )
    return rows


def finish(*arguments: str) -> None:
    """Do by hand what a test takes for granted."""
    for command in arguments:
        result = CliRunner().invoke(app, shlex.split(command))
        assert result.exit_code == 0, (command, result.output, result.exception)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Train on four images, evaluate on four, and export: in a folder, with a copy of it."""
    base = tmp_path_factory.mktemp("images")
    work = base / "work"
    (work / "data").mkdir(parents=True)
    write_rows(work / "data" / "rows.jsonl", image_rows(work / "data"))
    save_tower(work / "tower")
    save_small("bart", work / "plm")
    with contextlib.chdir(work):
        finish(
            "extract --dataset mine --data data/rows.jsonl --encoder image=tower "
            """--option 'labels=["yes", "no"]'""",
            f"train --dataset mine {shlex.join(TRAIN)} --max-steps 60 --lr 0.1",
            "eval",
            "export --output shared.safetensors",
        )
    shutil.copytree(work, base / "copy")
    return work, base / "copy"


@pytest.fixture
def work(trained, pfcli, monkeypatch):
    """Be in the trained folder as it was at first."""
    folder, copy = trained
    shutil.rmtree(folder)
    shutil.copytree(copy, folder)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def evaluated(work):
    (folder,) = (work / "pf" / "runs").glob("[0-9]*")
    return {row["id"]: row for row in read_rows(folder / "eval-test" / "predictions.jsonl")}


def test_an_exported_prompt_answers_in_a_fresh_cache_as_it_was_evaluated(evaluated, work, pfcli):
    arguments = ("shared.safetensors", "data/rows.jsonl", "--cache", "fresh", "--output", "a.jsonl")
    output = pfcli("predict", *arguments)
    assert "image: 0 media encoded before, 8 now" in output
    answers = {row["id"]: row for row in read_rows(work / "a.jsonl")}
    assert {name: answers[name]["answer"] for name in evaluated} == {
        name: row["prediction"] for name, row in evaluated.items()
    }
    assert {row["prediction"] for row in evaluated.values()} == {"yes", "no"}
    assert len({row["probability"] for row in answers.values()}) > 4
    assert all(0.5 <= row["probability"] <= 1 for row in answers.values())  # the better of two
    assert answers["q5"]["file"] == "5.png"
    assert not list((work / "fresh").glob("examples/*"))  # new questions are no dataset


def test_what_is_in_the_cache_is_not_encoded_again_and_needs_no_encoder(work, pfcli):
    shutil.rmtree(work / "tower")
    shards = {path: path.stat().st_mtime_ns for path in (work / "pf/cache").rglob("shard-*")}
    shutil.copy("data/1.png", "renamed.png")
    output = pfcli("predict", "1", "data/6.png", "renamed.png", "--text", "how many")
    assert "image: 2 media encoded before, 0 now" in output
    assert shards == {path: path.stat().st_mtime_ns for path in shards}
    assert "renamed.png  how many" in output
    PIL.Image.new("RGB", (20, 20)).save("new.png")
    error = pfcli("predict", "1", "new.png", "--text", "how many", code=2)
    assert f"{work / 'tower'}" in error
    assert "if it lies elsewhere: --encoder FOLDER" in error


def test_what_is_asked_about_stays_out_of_the_cache_that_is_trained_on(work, pfcli):
    """A held medium, a new one, and one that fails: in a store of their own, each once."""
    cache = work / "pf" / "cache"
    before = {path: path.read_bytes() for path in cache.rglob("*") if path.is_file()}
    PIL.Image.new("RGB", (20, 20), "green").save("new.png")
    (work / "text.png").write_text("no picture")
    files = ("data/6.png", "new.png", "text.png")
    output = pfcli("predict", "1", *files, "--text", "how many", code=1)
    assert "image: 1 media encoded before, 1 now" in output
    kept = {path: path.read_bytes() for path in before if path.name != MEMO_NAME}
    assert kept == {path: before[path] for path in kept}
    assert {path.relative_to(cache).parts[0] for path in cache.rglob("*")} - {"asked"} == {
        path.relative_to(cache).parts[0] for path in before
    }
    (held,), (asked,) = feature_sets(cache), feature_sets(cache / "asked")
    key = file_sha256(work / "data" / "6.png")
    assert len(asked) == 3  # and the blank one
    rows = [features.read([key], "pooler").values for features in (held, asked)]
    assert np.array_equal(*rows)
    again = pfcli("predict", "1", *files, "--text", "how many", code=1)
    assert "image: 2 media encoded before, 0 now" in again
    assert "6.png" in pfcli("predict", "1", "data/6.png", "--text", "how many")


def test_a_second_predict_encodes_nothing(work, pfcli):
    PIL.Image.new("RGB", (20, 20), "green").save("new.png")
    arguments = ("shared.safetensors", "new.png", "--text", "how many", "--cache", "fresh")
    first = pfcli("predict", *arguments)
    assert "image: 0 media encoded before, 1 now" in first
    assert pfcli("predict", *arguments) == first.replace(
        "0 media encoded before, 1", "1 media encoded before, 0"
    )


def test_bad_media_are_named_and_the_rest_goes_on(work, pfcli):
    (work / "empty.png").touch()
    (work / "text.png").write_text("no picture")
    files = ("data/5.png", "empty.png", "text.png", "absent.png", "data/7.png")
    output = pfcli("predict", "1", *files, "--text", "how many", "--output", "a.jsonl", code=1)
    assert "image: 2 media encoded before, 0 now" in output  # a failure is not encoded
    assert "not answered: empty.png: empty: the file has zero bytes" in output
    assert "not answered: text.png: unreadable: " in output
    assert "not answered: absent.png: missing: no such file" in output
    rows = read_rows(work / "a.jsonl")
    assert [row["file"] for row in rows] == list(files)
    assert [row["answer"] is None for row in rows] == [False, True, True, True, False]
    assert rows[3]["reason"] == "missing: no such file"
    alone = pfcli("predict", "1", "absent.png", "--text", "how many", code=1)
    assert alone.strip() == "not answered: absent.png: missing: no such file"


def test_a_tables_paths_may_not_leave_its_folder(work, pfcli):
    shutil.copy("data/1.png", "secret.png")
    (work / "data" / "link.png").symlink_to(work / "secret.png")
    paths = ("../secret.png", str(work / "secret.png"), "link.png", "2.png")
    rows = [{"id": f"r{n}", "text": "how many", "image": path} for n, path in enumerate(paths)]
    write_rows(work / "data" / "new.jsonl", [*rows, {"id": "r9", "text": "how many"}])
    output = pfcli("predict", "1", "data/new.jsonl", "--output", "a.jsonl", code=1)
    for path in paths[:3]:
        assert f"not answered: {path}: outside-data-folder: leads outside the data folder" in output
    assert "not answered: r9: names no image" in output
    answers = [row["answer"] for row in read_rows(work / "a.jsonl")]
    assert [answer is None for answer in answers] == [True, True, True, False, True]


def test_another_encoder_is_refused(work, pfcli):
    save_tower(work / "other", seed=1)
    arguments = ("shared.safetensors", "data/1.png", "--text", "how many", "--cache", "fresh")
    error = pfcli("predict", *arguments, "--encoder", "other", code=2)
    assert "other would not make the image features" in error
    assert "identity.weights_sha256: " in error
    moved = shutil.move(work / "tower", work / "moved" / "tower")
    assert "1 now" in pfcli("predict", *arguments, "--encoder", f"image={moved}")


def test_another_language_model_is_refused(work, pfcli):
    save_small("bart", work / "other", seed=1)
    arguments = ("predict", "shared.safetensors", "data/1.png", "--text", "how many")
    error = pfcli(*arguments, "--plm", "other", code=2)
    assert "was trained with plm (bart, width 16, weights " in error
    assert ", not with other (bart, width 16, weights " in error
    shutil.move(work / "plm", work / "elsewhere")
    assert "if it lies elsewhere: --plm FOLDER" in pfcli(*arguments, code=2)
    assert "data/1.png" in pfcli(*arguments, "--plm", "elsewhere")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("1", "data/1.png"), "what is asked about data/1.png? give --text QUESTION"),
        (("1", "data/rows.jsonl", "--text", "x"), "data/rows.jsonl is a table with texts"),
        (("1", "data/rows.jsonl", "data/1.png"), "data/rows.jsonl is a table: give it alone"),
        (("1", "data/words.csv"), "data/words.csv names no image in any row"),
        (("7", "data/1.png", "--text", "x"), "no run '7' in pf/runs"),
        (("no.safetensors", "data/1.png", "--text", "x"), "no.safetensors: no such file"),
        (("data/1.png", "data/1.png", "--text", "x"), "data/1.png is damaged"),
        (
            ("1", "data/1.png", "--text", "x", "--encoder", "audio=t"),
            "an encoder of audio is named, and 0001-",
        ),
        (("1", "data/1.png", "--text", "x", "--output", "no/a"), "there is no folder no"),
    ],
    ids=str,
)
def test_what_cannot_be_asked_is_refused(work, pfcli, arguments, message):
    (work / "data" / "words.csv").write_text("id,text\n1,how many\n")
    assert message in pfcli("predict", *arguments, code=2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--format", "peft"), "cannot be written for PEFT: PEFT puts vectors before one"),
        (("--output", "shared.bin"), "shared.bin: the file's name must end in .safetensors"),
        (("--output", "no/a.safetensors"), "there is no folder no; make it first"),
        (("--format", "peft", "--output", "shared.safetensors"), "is a file; for PEFT"),
    ],
    ids=str,
)
def test_what_cannot_be_exported_is_refused(work, pfcli, arguments, message):
    assert message in pfcli("export", "1", *arguments, code=2)


def test_an_export_is_named_after_its_run_and_can_be_exported_again(work, pfcli):
    output = pfcli("export", "shared.safetensors")
    name = "0001-mine-promptfuse-full-seed0.safetensors"
    assert f"wrote {name}" in output
    assert f'next: pfcli predict {name} FILE --text "QUESTION"' in output
    pfcli("export", "1", "--output", "data")
    assert (work / "data" / name).is_file()


def test_a_name_that_leads_elsewhere_is_not_written(work, pfcli):
    with safe_open(work / "shared.safetensors", framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        metadata = file.metadata() | {"name": json.dumps("../../planted")}
    (work / "sly.safetensors").write_bytes(sealed(tensors, metadata))
    before = set(work.parent.parent.rglob("*"))
    for kind in ("safetensors", "peft"):
        error = pfcli("export", "sly.safetensors", "--format", kind, code=2)
        assert "sly.safetensors: name is '../../planted', which is not the name of a file" in error
    assert set(work.parent.parent.rglob("*")) == before


def test_a_clip_gives_its_picture_and_its_sound(pfcli, tmp_path):
    (tmp_path / "data").mkdir()
    rows = []
    for number in range(4):
        frames = noise_frames(6, seed=number)
        sound = tone(0.6, 8000, hertz=200 + 100 * number)
        write_clip(tmp_path / "data" / f"{number}.mp4", videos=[frames], sounds=[sound])
        path = f"{number}.mp4"
        rows.append(
            {"id": str(number), "text": WORDS[number], "answer": ANSWERS[number], "video": path}
        )
        rows[-1]["audio"] = path
    write_rows(tmp_path / "data" / "rows.jsonl", rows)
    save_tower(tmp_path / "tower")
    save_listener(tmp_path / "ear")
    save_small("t5", tmp_path / "plm")
    pfcli(
        "extract", "--dataset", "mine", "--data", "data/rows.jsonl", "--encoder", "video=tower",
        "--encoder", "audio=ear", "--frames", "2",
    )  # fmt: skip
    pfcli("train", "--dataset", "mine", *TRAIN, "--max-steps", "6", "--lr", "0.3")
    pfcli("eval")
    (folder,) = (tmp_path / "pf" / "runs").glob("[0-9]*")
    expected = read_rows(folder / "eval-train" / "predictions.jsonl")
    pfcli("export", "--output", "shared.safetensors")
    output = pfcli(
        "predict", "shared.safetensors", "data/2.mp4", "--text", WORDS[2], "--cache", "fresh",
        "--output", "a.jsonl",
    )  # fmt: skip
    assert "video: 0 media encoded before, 1 now" in output
    assert "audio: 0 media encoded before, 1 now" in output
    assert len({row["prediction"] for row in expected}) > 1
    (row,) = read_rows(tmp_path / "a.jsonl")
    assert row == {
        "id": "1", "file": "data/2.mp4", "text": WORDS[2], "answer": expected[2]["prediction"],
    }  # fmt: skip
    pfcli("predict", "shared.safetensors", "data/rows.jsonl", "--output", "b.jsonl")
    assert [one["answer"] for one in read_rows(tmp_path / "b.jsonl")] == [
        one["prediction"] for one in expected
    ]
    write_clip(tmp_path / "mute.mp4", videos=[noise_frames(6)])
    mute = pfcli("predict", "1", "mute.mp4", "--text", "nice day", code=1)
    assert "not answered: mute.mp4: no-audio-stream: " in mute
    pfcli("export", "1", "--format", "peft", "--output", "peft")
    assert {path.name for path in (tmp_path / "peft").iterdir()} == {
        "adapter_config.json", "adapter_model.safetensors",
    }  # fmt: skip
