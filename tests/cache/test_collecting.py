import json
import os
import shutil
import time
from pathlib import Path

import pytest

from promptfuse.cache.checked import MEMO_NAME
from promptfuse.cache.claims import claim_object
from promptfuse.cache.collecting import find_garbage, remove_garbage
from promptfuse.cache.commits import Failure, commit_object, read_commits
from promptfuse.cache.example_table import DatasetInfo, Example
from promptfuse.cache.examples import read_examples, write_examples
from promptfuse.cache.objects import Folder
from promptfuse.cache.store import FeatureSet, FeatureWriter, feature_sets
from promptfuse.cache.verify import verify

GONE = f"{os.uname().nodename.replace('.', '_')}-99999999"
ALIVE = f"{os.uname().nodename.replace('.', '_')}-{os.getppid()}"
ELSEWHERE = "another_machine-12"
INFO = DatasetInfo("jokes", "table", "text", splits={"train": 1})


@pytest.fixture
def rows(make_rows):
    return make_rows(12)


@pytest.fixture
def path(write_set, rows, tmp_path) -> Path:
    write_examples(tmp_path, INFO, {"train": [Example(id="1", text="a")]})
    return write_set(rows)


def found(cache: Path, **options) -> dict[str, str]:
    return {one.name: one.why for one in find_garbage(cache, beside="asked", **options)}


def check_unharmed(path: Path, rows, assert_holds) -> None:
    assert_holds(FeatureSet.open(path), rows)
    assert [check for check in verify(path) if not check.ok] == []
    with FeatureWriter(path.parents[2], FeatureSet.open(path).manifest) as writer:
        assert writer.done == set(rows)


def test_a_cache_in_order_has_no_garbage(path, tmp_path):
    assert find_garbage(tmp_path, beside="asked") == []
    assert find_garbage(tmp_path / "absent", beside="asked") == []


def test_what_writers_that_are_gone_left_goes(path, rows, tmp_path, assert_holds, manifest):
    written = [commit for commit in read_commits(Folder(path)) if commit.file]
    dead, again = written[0], written[1]
    temporary = path / f".shard-1.arrow.7.{GONE}.partial"
    temporary.write_bytes(b"x" * 100)
    (path / "commits" / f".a.json.7.{GONE}.partial").write_bytes(b"x" * 10)
    (tmp_path / "examples" / "jokes" / f".train.arrow.7.{GONE}.partial").write_bytes(b"x")
    (path / claim_object("0" * 16)).parent.mkdir(exist_ok=True)
    (path / claim_object("0" * 16)).write_text(GONE)
    # a shard whose writer died before the commit
    kept = (path / commit_object(dead.name)).read_bytes()
    (path / commit_object(dead.name)).unlink()
    (path / claim_object(dead.name)).write_text(GONE)
    # another file of committed media
    leftover = path / f"shard-{again.name}-{'0' * 16}.arrow"
    shutil.copyfile(path / again.file, leftover)
    garbage = find_garbage(tmp_path, beside="asked")
    names = [one.name for one in garbage]
    assert sorted(names) == sorted(
        [
            temporary.name,
            f"commits/.a.json.7.{GONE}.partial",
            f".train.arrow.7.{GONE}.partial",
            claim_object("0" * 16),
            dead.file,
            claim_object(dead.name),
            leftover.name,
        ]
    )
    assert names.index(dead.file) < names.index(claim_object(dead.name))
    held = sum((one.folder / one.name).stat().st_size for one in garbage)
    assert remove_garbage(garbage) == held
    assert find_garbage(tmp_path, beside="asked") == []
    assert kept
    check_unharmed(path, {k: r for k, r in rows.items() if k not in dead.row_keys}, assert_holds)


@pytest.mark.parametrize("holder", [ALIVE, ELSEWHERE])
def test_nothing_goes_that_a_living_writer_may_need(path, tmp_path, holder):
    commit = next(commit for commit in read_commits(Folder(path)) if commit.file)
    (path / commit_object(commit.name)).unlink()
    (path / claim_object(commit.name)).parent.mkdir(exist_ok=True)
    (path / claim_object(commit.name)).write_text(holder)
    (path / f".shard-1.arrow.7.{holder}.partial").write_bytes(b"x" * 100)
    leftover = path / f"shard-{commit.name}-{'0' * 16}.arrow"
    shutil.copyfile(path / commit.file, leftover)
    fresh = tmp_path / "examples" / "jokes" / "train-0000000000000000.arrow"
    fresh.write_bytes(b"about to be named")
    assert found(tmp_path) == {}


def test_shards_that_lost_their_commits_stay(path, tmp_path):
    commit = next(commit for commit in read_commits(Folder(path)) if commit.file)
    (path / commit_object(commit.name)).unlink()
    assert found(tmp_path) == {}


def test_examples_that_nothing_names_go_once_they_are_old(path, tmp_path):
    folder = tmp_path / "examples" / "jokes"
    old = folder / "train-0000000000000000.arrow"
    old.write_bytes(b"x" * 50)
    day_before = time.time() - 25 * 3600
    for file in folder.iterdir():
        os.utime(file, (day_before, day_before))
    assert found(tmp_path) == {old.name: "not named by dataset.json"}
    assert remove_garbage(find_garbage(tmp_path, beside="asked")) == 50
    assert len(read_examples(tmp_path, "jokes", "train")) == 1
    (folder / "dataset.json").write_text("{")
    old.write_bytes(b"x")
    os.utime(old, (day_before, day_before))
    assert found(tmp_path) == {}  # what is damaged names who knows what


def test_a_memo_of_files_that_are_gone_goes(path, tmp_path):
    (path / MEMO_NAME).write_text(json.dumps({"shard-gone.arrow": [1, 2, 3, "x"]}))
    assert found(tmp_path) == {MEMO_NAME: "remembers no file that is here"}
    kept = next(path.glob("shard-*")).name
    (path / MEMO_NAME).write_text(json.dumps({kept: [1, 2, 3, "x"]}))
    assert found(tmp_path) == {}


def test_what_was_encoded_to_be_asked_about_goes_when_that_is_asked(
    path, rows, tmp_path, manifest, assert_holds
):
    with FeatureWriter(tmp_path / "asked", manifest) as writer:
        for key, row in rows.items():
            writer.append(key, row)
        writer.fail(Failure(b"\7" * 32, "x.mp4", "damaged", "cut short"))
    size = FeatureSet.open(writer.path).size_bytes
    assert found(tmp_path) == {}
    claim = writer.path / claim_object("0" * 16)
    claim.write_text(ELSEWHERE)
    assert found(tmp_path, all_beside=True) == {}
    claim.unlink()
    garbage = find_garbage(tmp_path, beside="asked", all_beside=True)
    assert remove_garbage(garbage) > size
    assert feature_sets(tmp_path / "asked") == []
    assert not writer.path.exists()
    check_unharmed(path, rows, assert_holds)
