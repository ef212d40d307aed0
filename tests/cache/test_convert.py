from pathlib import Path

import pytest

from promptfuse.cache.commits import Failure
from promptfuse.cache.convert import convert
from promptfuse.cache.store import FeatureSet, FeatureWriter
from promptfuse.cache.verify import repair, verify
from promptfuse.errors import ShardCorrupt, UnknownName

FAILURE = Failure(b"f" * 32, "a.mp4", "damaged", "cut short")


@pytest.fixture
def path(write_set, make_rows, file_format, tmp_path: Path, manifest) -> Path:
    path = write_set(make_rows(11), format=file_format)
    with FeatureWriter(tmp_path, manifest) as writer:
        writer.fail(FAILURE)
    return path


def test_there_and_back_gives_the_same_bytes(
    path: Path, file_format, other_format, make_rows, folder_bytes, assert_holds
):
    before = folder_bytes(path)
    assert convert(path, other_format) == 3
    features = FeatureSet.open(path)
    assert set(features.keys) == set(make_rows(11))
    assert_holds(features, make_rows(11))
    assert features.failures == [FAILURE]
    assert all(check.ok for check in verify(path))
    assert not set(before) & {file.name for file in path.glob("shard-*")}
    assert convert(path, file_format) == 3
    assert folder_bytes(path) == before


def test_what_has_the_format_already_is_left_alone(path: Path, file_format, folder_bytes):
    before = folder_bytes(path)
    assert convert(path, file_format) == 0
    assert folder_bytes(path) == before


def test_a_mixed_set_becomes_one_format(
    path: Path, tmp_path: Path, manifest, file_format, other_format, make_rows, assert_holds
):
    more = make_rows(5, seed=1)
    with FeatureWriter(tmp_path, manifest, format=other_format) as writer:
        for key, row in more.items():
            writer.append(key, row)
    told: list[tuple[int, int]] = []
    convert(path, other_format, progress=lambda done, total: told.append((done, total)))
    assert told == [(1, 3), (2, 3), (3, 3)]
    assert len({file.suffix for file in path.glob("shard-*")}) == 1
    assert_holds(FeatureSet.open(path), {**make_rows(11), **more})


def test_what_a_shard_says_of_its_commit_comes_along(path: Path, other_format, folder_bytes):
    convert(path, other_format)
    before = folder_bytes(path)
    for commit in (path / "commits").iterdir():
        commit.unlink()
    assert len(repair(path)) == 4 - 1  # of the commit of failures alone nothing is left
    after = folder_bytes(path)
    assert after.items() <= before.items()
    assert len(after) == len(before) - 1


def test_what_an_interrupted_conversion_left_is_removed(
    path: Path, other_format, folder_bytes, monkeypatch
):
    convert(path, other_format)
    whole = folder_bytes(path)
    shard = min(path.glob("shard-*"))
    leftover = shard.with_name(shard.name.replace(shard.stem[-16:], "0" * 16))
    leftover.write_bytes(b"the old format")
    assert convert(path, other_format) == 0
    assert folder_bytes(path) == whole


def test_a_damaged_shard_stops_the_conversion(path: Path, other_format, folder_bytes):
    shard = max(path.glob("shard-*"))
    shard.write_bytes(shard.read_bytes()[:-10])
    with pytest.raises(ShardCorrupt, match=rf"{shard.name}: \d+ bytes were committed"):
        convert(path, other_format)
    assert shard.exists()


def test_a_flipped_byte_is_not_blessed_with_a_new_hash(path: Path, other_format, flip_value):
    shard = flip_value(path)
    with pytest.raises(ShardCorrupt, match=rf"{shard.name}: bytes changed"):
        convert(path, other_format)
    assert shard.exists()


def test_a_writer_at_work_is_not_disturbed(
    path: Path, tmp_path, manifest, other_format, make_rows, assert_holds
):
    more = make_rows(4, seed=1)
    with FeatureWriter(tmp_path, manifest) as writer:
        assert writer.claim(list(more)) == list(more)
        for key, row in more.items():
            writer.append(key, row)
        convert(path, other_format)
        writer.commit()
        assert writer.claim([*make_rows(11)]) == []
    assert_holds(FeatureSet.open(path), {**make_rows(11), **more})


def test_unknown_formats_are_named(path: Path):
    with pytest.raises(UnknownName, match="unknown format 'csv'"):
        convert(path, "csv")
