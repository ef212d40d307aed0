"""SIGKILL at every file operation and at random times: nothing committed is lost or changed."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("interrupted.py")


def run(task: str, file_format: str, folder: Path, instant: str = "never", kills: int = 0) -> int:
    """Returns how often the task was killed; the script itself compares all bytes."""
    command = [sys.executable, SCRIPT, task, file_format, folder, instant, str(kills)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def shards(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.rglob("shard-*"))}


@pytest.fixture
def extracted(tmp_path: Path, file_format: str) -> Path:
    folder = tmp_path / "cache"
    assert run("extract", file_format, folder) == 0
    shutil.rmtree(tmp_path / "cache.beginning")
    return folder


def test_extraction_killed_at_random_times(tmp_path: Path, file_format: str):
    assert run("extract", file_format, tmp_path / "cache", "random", 25) == 25
    assert len(shards(tmp_path / "cache")) == 3  # one chunk of four held failures only


def test_extraction_killed_at_every_operation(tmp_path: Path, file_format: str):
    assert run("extract", file_format, tmp_path / "cache", "every") > 20
    assert len(shards(tmp_path / "cache")) == 3


def test_conversion_killed_at_every_operation(file_format: str, other_format: str, extracted: Path):
    before = shards(extracted)
    assert run("convert", other_format, extracted, "every") > 20
    shutil.rmtree(extracted.with_name("cache.beginning"))
    assert not shards(extracted).keys() & before.keys()
    run("convert", file_format, extracted)
    assert shards(extracted) == before


def test_repair_killed_at_every_operation(file_format: str, extracted: Path):
    before = shards(extracted)
    shard = next(extracted.rglob("shard-00001.*"))
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 0x10
    shard.write_bytes(content)
    assert run("repair", file_format, extracted, "every") > 20
    after = shards(extracted)
    assert shard.name not in after
    assert after.items() >= {(name, before[name]) for name in before if name != shard.name}


def test_examples_killed_at_every_operation(tmp_path: Path):
    folder = tmp_path / "cache"
    assert run("examples", "arrow", folder, "every") > 8
    shutil.rmtree(folder.with_name("cache.beginning"))
    assert run("examples", "arrow", folder, "every") > 8  # the same again, over what is there
