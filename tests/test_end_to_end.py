"""The three commands, exactly as typed, in an empty folder; and what must hold around them."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PFCLI = Path(sys.executable).with_name("pfcli")


def pfcli(folder: Path, *arguments: str, code: int = 0) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "HF_HUB_OFFLINE"}
    result = subprocess.run(
        [PFCLI, *arguments], cwd=folder, capture_output=True, text=True, env=environment
    )
    assert result.returncode == code, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> tuple[Path, dict[str, str]]:
    folder = tmp_path_factory.mktemp("empty")
    outputs = {
        "extract": pfcli(folder, "extract", "--modality", "video"),
        "train": pfcli(folder, "train", "--method", "blindprompt", "--shots", "16"),
        "eval": pfcli(folder, "eval"),
    }
    return folder, outputs


def metrics_of(folder: Path, number: int) -> dict:
    (run,) = (folder / "pf" / "runs").glob(f"{number:04d}-*")
    return json.loads((run / "eval-test" / "metrics.json").read_text())["metrics"]["values"]


def test_every_command_says_what_it_did_and_what_is_next(finished):
    folder, outputs = finished
    assert "embedded three-modality demo, demo-mustard" in outputs["extract"]
    assert "next: pfcli train" in outputs["extract"]
    assert "16 examples, 2,560 trainable parameters" in outputs["train"]
    assert "next: pfcli eval" in outputs["train"]
    assert "always True" in outputs["eval"]
    assert "blindprompt" in outputs["eval"]
    (run,) = (folder / "pf" / "runs").glob("[0-9]*")
    assert run.name == "0001-demo-mustard-blindprompt-16shots-seed0"
    assert {path.name for path in run.iterdir()} == {
        "run.json", "prompt.safetensors", "log.jsonl", "eval-test"
    }  # fmt: skip


def test_a_second_extract_does_nothing(finished):
    folder, _ = finished
    before = {path: path.stat().st_mtime_ns for path in (folder / "pf/cache").rglob("shard-*")}
    output = pfcli(folder, "extract", "--modality", "video")
    assert "840          840        0       0" in output
    after = {path: path.stat().st_mtime_ns for path in (folder / "pf/cache").rglob("shard-*")}
    assert before == after


def test_the_raw_data_is_not_needed_after_extraction(finished, tmp_path):
    folder, _ = finished
    shutil.copytree(folder, tmp_path / "moved", ignore=shutil.ignore_patterns("data"))
    pfcli(tmp_path / "moved", "train", "--method", "blindprompt", "--shots", "16")
    pfcli(tmp_path / "moved", "eval")
    assert metrics_of(tmp_path / "moved", 2) == metrics_of(folder, 1)


def test_training_imports_no_extraction_and_builds_no_encoder(finished, tmp_path):
    folder, _ = finished
    shutil.copytree(folder / "pf" / "cache", tmp_path / "pf" / "cache")
    code = (
        "import sys; sys.argv = ['pfcli', 'train', '--max-steps', '2', '--shots', '4']\n"
        "import transformers\n"
        "def refuse(*_, **__): raise RuntimeError('an encoder was built')\n"
        "for name in ('ViTModel', 'Wav2Vec2Model', 'CLIPVisionModel'):\n"
        "    getattr(transformers, name).__init__ = refuse\n"
        "from promptfuse.cli import main\n"
        "main()\n"
    )
    tail = (
        "light = ('promptfuse.extract', 'promptfuse.extract.settings')\n"
        "heavy = ('promptfuse.extract', 'av', 'open_clip')\n"
        "print([m for m in sys.modules if m.startswith(heavy) and m not in light])"
    )
    code = code.replace("main()\n", f"try: main()\nexcept SystemExit as e: print(e.code)\n{tail}")
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "wrote pf/runs/0001" in result.stdout
    assert result.stdout.strip().splitlines()[-1] == "[]"


def test_inspect_verify_and_convert(finished, tmp_path):
    folder, _ = finished
    shutil.copytree(folder / "pf" / "cache", tmp_path / "pf" / "cache")
    assert "demo-mustard" in pfcli(tmp_path, "inspect")
    assert "0 damaged" in pfcli(tmp_path, "verify")
    pfcli(tmp_path, "convert", "--format", "hdf5")
    assert not list(tmp_path.rglob("shard-*.arrow"))
    pfcli(tmp_path, "train", "--method", "blindprompt", "--shots", "16")
    pfcli(tmp_path, "eval")
    assert metrics_of(tmp_path, 1) == metrics_of(folder, 1)
    shard = next(iter(sorted(tmp_path.rglob("shard-*.h5"))))
    content = bytearray(shard.read_bytes())
    content[-1] ^= 1
    shard.write_bytes(content)
    output = pfcli(tmp_path, "verify", code=1)
    assert "1 damaged" in output
    assert shard.name in output
