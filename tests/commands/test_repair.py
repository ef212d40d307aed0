"""Damage of every kind: listed in one go, mended, extracted again, to the same bytes."""

import contextlib
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from promptfuse.cli import app

from ..extract.media_files import cut_short
from ..extract.tiny_models import save_tower
from .test_predict import image_rows, write_rows

EXTRACT = ("extract", "--dataset", "mine", "--data", "data/rows.jsonl", "--encoder", "tower")
EXTRACT += ("--shard-rows", "2", "--max-failures", "1", "--device", "cpu")


def pfcli(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == code, (arguments, result.output, result.exception)
    return result.output


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    (folder / "data").mkdir()
    rows = image_rows(folder / "data")
    cut_short(folder / "data" / "3.png", 0.5)
    write_rows(folder / "data" / "rows.jsonl", rows)
    save_tower(folder / "tower")
    with contextlib.chdir(folder):
        pfcli(*EXTRACT)
    return folder


@pytest.fixture
def folder(whole, tmp_path, monkeypatch):
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def files_of(folder: Path) -> dict[str, bytes]:
    root = folder / "pf" / "cache"
    files = [path for path in sorted(root.rglob("*")) if path.is_file() and path.name[0] != "."]
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


def shards(folder: Path) -> list[Path]:
    return sorted((folder / "pf" / "cache" / "features").rglob("shard-*"))


def commits(folder: Path) -> list[Path]:
    return sorted((folder / "pf" / "cache" / "features").rglob("commits/*.json"))


def split(folder: Path) -> Path:
    return next((folder / "pf" / "cache" / "examples" / "mine").glob("train-*.arrow"))


def flip(path: Path) -> Path:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    return path


def remove(path: Path) -> Path:
    path.unlink()
    return path


def garble(path: Path) -> Path:
    path.write_bytes(b"{garbled")
    return path


DAMAGE = {
    "a deleted shard": (lambda folder: [remove(shards(folder)[0])], "missing"),
    "a truncated shard": (lambda folder: [cut_short(shards(folder)[1], 0.5)], "bytes changed"),
    "a flipped shard": (lambda folder: [flip(shards(folder)[2])], "bytes changed"),
    "a garbled commit": (lambda folder: [garble(commits(folder)[0])], "not JSON"),
    "a flipped split": (lambda folder: [flip(split(folder))], "bytes changed"),
    "a garbled dataset.json": (
        lambda folder: [garble(split(folder).with_name("dataset.json"))],
        "not JSON",
    ),
}


def with_all(folder: Path) -> list[Path]:
    """Damage of four kinds at once, in four shards."""
    assert len(shards(folder)) >= 5
    garbled = garble(next(path for path in commits(folder) if path.stem in shards(folder)[3].name))
    return [
        remove(shards(folder)[0]),
        cut_short(shards(folder)[0], 0.5),
        flip(shards(folder)[1]),
        garbled,
    ]


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_is_named_and_mended_to_the_same_bytes(whole, folder, kind):
    damage, reason = DAMAGE[kind]
    (path,) = damage(folder)
    said = pfcli("verify", code=1)
    assert f"{path.name}: " in said
    assert reason in said
    assert ", 1 damaged" in said
    pfcli("verify", "--repair", code=1)
    pfcli(*EXTRACT)
    assert files_of(folder) == files_of(whole)
    assert ", 0 damaged" in pfcli("verify")


def test_a_lost_commit_is_made_again_from_its_shard(whole, folder):
    (lost,) = [remove(path) for path in commits(folder) if path.stem in shards(folder)[0].name]
    result = CliRunner().invoke(app, EXTRACT)
    assert "1 shards, such as" in str(result.exception)
    assert "have lost their commits" in str(result.exception)
    assert shards(folder) == [folder / path.relative_to(whole) for path in shards(whole)]
    assert f"made commits/{lost.name} again from" in pfcli("verify", "--repair", code=1)
    assert files_of(folder) == files_of(whole)


def test_all_damage_is_listed_in_one_go(whole, folder):
    paths = with_all(folder)
    said = pfcli("verify", code=1)
    for path in paths:
        assert f"{path.name}: " in said
    assert f", {len(paths)} damaged" in said
    pfcli("verify", "--repair", code=1)
    pfcli(*EXTRACT)
    assert files_of(folder) == files_of(whole)
