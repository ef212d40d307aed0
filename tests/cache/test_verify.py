from pathlib import Path

import pytest

from promptfuse.cache.commits import Failure, put_commit, read_commits
from promptfuse.cache.examples import DatasetInfo, Example, read_examples, write_examples
from promptfuse.cache.objects import Folder
from promptfuse.cache.store import FeatureSet, FeatureWriter
from promptfuse.cache.verify import (
    dataset_folders,
    feature_folders,
    repair,
    verify,
    verify_examples,
)
from promptfuse.errors import ShardCorrupt

FAILURE = Failure(b"f" * 32, "a.mp4", "damaged", "cut short")


@pytest.fixture
def path(write_set, make_rows, file_format, tmp_path: Path, manifest) -> Path:
    """A set of three shards, two failures beside the rows of the third, one in a commit alone."""
    rows = make_rows(11)
    path = write_set(dict(list(rows.items())[:8]), format=file_format)
    with FeatureWriter(tmp_path, manifest, format=file_format) as writer:
        again(writer, rows)
    return path


def again(writer: FeatureWriter, rows) -> None:
    """Does what is not done, cut as it was at first."""
    keys = list(rows)
    failures = [Failure(bytes([n]) * 32, f"{n}.mp4", "damaged", "cut short") for n in range(1, 4)]
    for slice_, failed in ((keys[:4], []), (keys[4:8], []), (keys[8:], failures[:2])):
        for key in slice_:
            if key not in writer.done:
                writer.append(key, rows[key])
        for failure in failed:
            if failure.key not in writer.done:
                writer.fail(failure)
        writer.commit()
    if failures[2].key not in writer.done:
        writer.fail(failures[2])


def bad(path: Path) -> dict[str, str]:
    return {check.file: check.reason for check in verify(path) if not check.ok}


def commit_file(path: Path, shard: Path) -> Path:
    (commit,) = [c for c in read_commits(Folder(path)) if c.file == shard.name]
    return path / "commits" / f"{commit.name}.json"


def test_a_sound_set_passes(path: Path):
    told: list[tuple[int, int]] = []
    checks = verify(path, progress=lambda done, total: told.append((done, total)))
    kinds = sorted(check.file.split("-")[0].split("/")[0] for check in checks)
    assert kinds == ["commits"] * 4 + ["manifest.json"] + ["shard"] * 3
    assert all(check.ok and check.reason == "" for check in checks)
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_any_flipped_byte_is_found(path: Path):
    for file in [path / "manifest.json", *path.glob("commits/*"), *path.glob("shard-*")]:
        content = file.read_bytes()
        for place in range(0, len(content), max(1, len(content) // 40)):
            file.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
            assert list(bad(path)) == [str(file.relative_to(path))]
        file.write_bytes(content)


def test_all_damage_is_found_in_one_go(path: Path):
    first, second, third = sorted(path.glob("shard-*"))
    garbled = commit_file(path, third)
    first.write_bytes(first.read_bytes()[:-1])
    second.unlink()
    garbled.write_text("{}")
    found = bad(path)
    assert sorted(found) == sorted([first.name, second.name, f"commits/{garbled.name}"])
    assert "bytes changed: sha256" in found[first.name]
    assert "missing" in found[second.name]


def test_a_lost_commit_is_found(path: Path):
    shard = min(path.glob("shard-*"))
    commit_file(path, shard).unlink()
    assert "its commit is lost; run: pfcli verify --repair" in bad(path)[shard.name]


def test_a_commit_that_disagrees_with_its_shard_is_found(path: Path):
    one, other = [c for c in read_commits(Folder(path)) if c.rows == 4]
    put_commit(Folder(path), type(one)(**{**vars(one), "keys": other.keys}), replace=True)
    assert "its keys are not those that were committed" in bad(path)[str(one.file)]


DAMAGE = ["deleted", "truncated", "flipped", "garbled commit", "lost commit", "manifest", "all"]


def damage(path: Path, kind: str, shard: Path) -> None:
    content = shard.read_bytes()
    if kind == "deleted":
        shard.unlink()
    elif kind == "truncated":
        shard.write_bytes(content[: len(content) // 2])
    elif kind == "flipped":
        shard.write_bytes(content[:900] + bytes([content[900] ^ 4]) + content[901:])
    elif kind == "garbled commit":
        commit_file(path, shard).write_bytes(b"\x00" * 40)
    elif kind == "lost commit":
        commit_file(path, shard).unlink()
    else:
        (path / "manifest.json").write_text("{}")


@pytest.mark.parametrize("kind", DAMAGE)
@pytest.mark.parametrize("number", [0, 1, 2])
def test_repair_and_extraction_bring_back_the_same_bytes(
    path: Path, tmp_path, manifest, make_rows, file_format, folder_bytes, kind: str, number: int
):
    rows, before = make_rows(11), folder_bytes(path)
    shards = sorted(path.glob("shard-*"))
    if kind == "all":
        kinds = (DAMAGE[number], DAMAGE[(number + 1) % 3], DAMAGE[3 + number % 2])
        for each, shard in zip(kinds, shards, strict=True):
            damage(path, each, shard)
        (path / "manifest.json").write_text("{}")
    else:
        damage(path, kind, shards[number])
    assert bad(path)
    assert feature_folders(tmp_path) == [path]
    lines = repair(path)
    assert lines
    assert repair(path) == []
    with FeatureWriter(tmp_path, manifest, format=file_format) as writer:
        if "commit" in kind:
            assert len(writer.done) == 14  # made again from the shard, its failures too
        again(writer, rows)
    assert folder_bytes(path) == before
    assert bad(path) == {}


def test_repair_of_a_sound_set_changes_nothing(path: Path, folder_bytes):
    before = folder_bytes(path)
    assert repair(path) == []
    assert folder_bytes(path) == before


def test_a_lost_commit_of_failures_alone_lets_them_be_tried_again(path: Path, tmp_path, manifest):
    (alone,) = [c for c in read_commits(Folder(path)) if c.file is None]
    (path / "commits" / f"{alone.name}.json").unlink()
    assert bad(path) == {}
    with FeatureWriter(tmp_path, manifest) as writer:
        assert len(writer.done) == 13


def test_repair_beside_a_writer_takes_nothing_from_it(path: Path, tmp_path, manifest, make_rows):
    more = make_rows(3, seed=1)
    with FeatureWriter(tmp_path, manifest) as writer:
        for key, row in more.items():
            writer.append(key, row)
        assert repair(path) == []
    assert len(FeatureSet.open(path)) == 14


def test_examples_are_rehashed(tmp_path: Path):
    info = DatasetInfo("d", "table", "text", splits={"train": 2, "test": 1})
    examples = [Example("1", "one text"), Example("2", "another text")]
    write_examples(tmp_path, info, {"train": examples, "test": examples[:1]})
    checks = verify_examples(tmp_path, "d")
    assert [check.file.split("-")[0] for check in checks] == [
        "dataset.json",
        "test",
        "train",
        "failures",
    ]
    assert all(check.ok for check in checks)
    (path,) = (tmp_path / "examples" / "d").glob("train-*.arrow")
    content = path.read_bytes()
    place = content.index(b"another")
    path.write_bytes(content[:place] + b"A" + content[place + 1 :])
    _, test, train, _ = verify_examples(tmp_path, "d")
    assert test.ok
    assert f"{path}: bytes changed" in train.reason
    with pytest.raises(ShardCorrupt, match=r"train-\w+\.arrow: bytes changed"):
        read_examples(tmp_path, "d", "train")
    path.unlink()
    assert verify_examples(tmp_path, "d")[2].reason.endswith("missing")
    (tmp_path / "examples" / "d" / "dataset.json").write_text("{}")
    (described,) = verify_examples(tmp_path, "d")
    assert (described.file, described.ok) == ("dataset.json", False)
    assert [path.name for path in dataset_folders(tmp_path)] == ["d"]
