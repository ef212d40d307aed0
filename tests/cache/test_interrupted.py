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


def commits(folder: Path) -> int:
    return len(list(folder.rglob("commits/*")))


@pytest.fixture
def extracted(tmp_path: Path, file_format: str) -> Path:
    folder = tmp_path / "cache"
    assert run("extract", file_format, folder) == 0
    shutil.rmtree(tmp_path / "cache.beginning")
    return folder


def test_extraction_killed_at_random_times(tmp_path: Path, file_format: str):
    assert run("extract", file_format, tmp_path / "cache", "random", 25) == 25
    assert len(shards(tmp_path / "cache")) == 3
    assert commits(tmp_path / "cache") == 6  # three are of failures only


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
    shard = min(extracted.rglob("shard-*"))
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 0x10
    shard.write_bytes(content)
    assert run("repair", file_format, extracted, "every") > 20
    assert shards(extracted) == before


def test_repair_of_lost_commits_killed_at_every_operation(file_format: str, extracted: Path):
    before = shards(extracted)
    for commit in sorted(extracted.rglob("commits/*"))[:5]:
        commit.unlink()
    assert run("repair", file_format, extracted, "every") > 20
    assert shards(extracted) == before
    assert commits(extracted) == 6


def test_examples_killed_at_every_operation(tmp_path: Path):
    folder = tmp_path / "cache"
    assert run("examples", "arrow", folder, "every") > 8
    shutil.rmtree(folder.with_name("cache.beginning"))
    assert run("examples", "arrow", folder, "every") > 8  # the same again, over what is there
