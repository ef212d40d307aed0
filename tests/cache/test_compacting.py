import copy
import os
import shutil
from pathlib import Path

import pytest

from promptfuse.cache import claims, compacting, objects
from promptfuse.cache.claims import claim_object
from promptfuse.cache.commits import Failure, commit_object, read_commits
from promptfuse.cache.compacting import COMPACTION, compact
from promptfuse.cache.convert import convert
from promptfuse.cache.objects import Folder
from promptfuse.cache.store import FeatureSet, FeatureWriter
from promptfuse.cache.verify import repair, verify
from promptfuse.errors import CacheBusy, ShardCorrupt

BIG = 1 << 26
FAILURE = Failure(b"\7" * 32, "x.mp4", "damaged", "cut short")


class Crash(BaseException):
    """What ends a process between two instructions."""


@pytest.fixture
def rows(make_rows):
    return make_rows(23)


@pytest.fixture
def small(write_set, manifest, rows, tmp_path, file_format) -> Path:
    """A set of many small shards, one of them twice, and of a failure that was tried again."""
    path = write_set(rows, shard_rows=2, format=file_format)
    with FeatureWriter(tmp_path, manifest) as writer:
        writer.fail(FAILURE)
        writer.commit()
        writer.forget([FAILURE.key])
        writer.claim([FAILURE.key])
        writer.fail(Failure(FAILURE.key, "x.mp4", "damaged", "later"))
    first, second = read_commits(Folder(path))[:2]
    whole = FeatureSet.open(path)
    both = first.row_keys + second.row_keys
    with FeatureWriter(tmp_path, manifest) as writer:
        writer._with_row.clear()
        writer.add(first.__class__(b"".join(both)), whole.take(whole.find(both)))
    return path


def check(path: Path, rows, assert_holds) -> None:
    """Each row is there once, the last failure too, and nothing is amiss."""
    features = FeatureSet.open(path)
    assert sorted(features.keys) == sorted(rows)
    assert_holds(features, rows)
    assert [failure.message for failure in features.failures] == ["later"]
    assert [one for one in verify(path) if not one.ok] == []
    with FeatureWriter(path.parents[2], features.manifest) as writer:
        assert writer.done == {*rows, FAILURE.key}


def test_many_small_shards_become_few(small, rows, assert_holds):
    before = len(read_commits(Folder(small)))
    assert compact(small, shard_bytes=BIG) == (before, 3)  # rows, and the two attempts
    check(small, rows, assert_holds)
    assert len(list(small.glob("shard-*"))) == 1
    assert list((small / "claims").iterdir()) == []
    assert compact(small, shard_bytes=BIG)[1] <= 3
    check(small, rows, assert_holds)


def test_shards_are_joined_up_to_a_size(small, rows, assert_holds):
    sizes = [commit.size_bytes for commit in read_commits(Folder(small))]
    compact(small, shard_bytes=3 * max(sizes))
    after = [commit.size_bytes for commit in read_commits(Folder(small)) if commit.file]
    assert 3 <= len(after) <= 6
    assert max(after) <= 3 * max(sizes)
    check(small, rows, assert_holds)


def test_readers_and_writers_that_opened_before_go_on(small, rows, assert_holds, manifest):
    fresh, used = FeatureSet.open(small), FeatureSet.open(small)
    copied = copy.copy(fresh)
    assert_holds(used, dict(list(rows.items())[:5]))
    with FeatureWriter(small.parents[2], manifest) as writer:
        compact(small, shard_bytes=BIG)
        key = b"\x55" * 32
        assert writer.claim([*rows, key]) == [key]
        writer.append(key, rows[next(iter(rows))])
    for features in (fresh, used, copied):
        assert_holds(features, rows)
        keys = list(features.keys)
        assert features.find(keys).tolist() == list(range(len(keys)))
    convert(small, "hdf5")
    convert(small, "arrow")
    assert_holds(FeatureSet.open(small), {**rows, key: rows[next(iter(rows))]})


def test_a_set_that_is_compacted_while_it_is_opened_opens(small, rows, assert_holds, monkeypatch):
    real = Folder.get_many

    def later(self, names):
        names = list(names)
        monkeypatch.setattr(Folder, "get_many", real)
        compact(small, shard_bytes=BIG)
        return real(self, names)

    monkeypatch.setattr(Folder, "get_many", later)
    assert_holds(FeatureSet.open(small), rows)


def test_a_crash_at_any_instant_loses_and_doubles_nothing(
    small, rows, assert_holds, monkeypatch, tmp_path
):
    whole = shutil.copytree(tmp_path, tmp_path.with_name(f"{tmp_path.name}-whole"))
    finished, instant = False, 0
    while not finished:
        shutil.rmtree(tmp_path)
        shutil.copytree(whole, tmp_path)
        with monkeypatch.context() as patched:
            calls = iter(range(instant))

            def dying(real, calls=calls):
                def call(*args, **kwargs):
                    if next(calls, None) is None:
                        raise Crash
                    return real(*args, **kwargs)

                return call

            for name in ("put", "put_if_absent", "place", "delete"):
                patched.setattr(Folder, name, dying(getattr(Folder, name)))
            patched.setattr(compacting, "sync", dying(objects.sync))
            try:
                compact(small, shard_bytes=BIG)
                finished = True
            except Crash:
                instant += 1
        monkeypatch.setattr("promptfuse.cache.claims.writer_name", lambda: "elsewhere-1")
        monkeypatch.setattr("promptfuse.cache.claims.is_gone", lambda name: bool(name))
        check(small, rows, assert_holds)
        if instant % 5 == 0:
            repair(small)
            check(small, rows, assert_holds)
        compact(small, shard_bytes=BIG)
        check(small, rows, assert_holds)
        monkeypatch.undo()
    assert instant > 40


def test_one_compaction_at_a_time(small, rows, assert_holds):
    held = small / claim_object(COMPACTION)
    held.parent.mkdir(exist_ok=True)
    held.write_text("another.machine-12")
    with pytest.raises(CacheBusy, match=r"another.machine-12 is compacting .* delete claims/comp"):
        compact(small, shard_bytes=BIG)
    held.write_text(f"{os.uname().nodename}-99999999")
    compact(small, shard_bytes=BIG)
    assert not held.exists()


def test_what_a_living_writer_has_in_hand_is_left(small, rows, assert_holds):
    commits = [commit for commit in read_commits(Folder(small)) if commit.file]
    (small / claim_object(commits[0].name)).write_text("another_machine-12")
    compact(small, shard_bytes=BIG)
    check(small, rows, assert_holds)
    names = {commit.name for commit in read_commits(Folder(small))}
    assert commits[0].name in names


def test_a_writer_of_the_same_bytes_in_the_middle_leaves_no_commit_without_a_shard(
    small, rows, assert_holds, manifest, monkeypatch
):
    late = FeatureWriter(small.parents[2], manifest)  # knows of no commit
    first = next(commit for commit in read_commits(Folder(small)) if commit.file)
    shard, delete = FeatureSet.open(small), Folder.delete
    shard = copy.deepcopy(shard.take(shard.find(first.row_keys)))
    done: list[str] = []

    def deleting(folder: Folder, name: str) -> None:
        delete(folder, name)
        if name.startswith("commits/") and not done:
            done.append(name)
            with monkeypatch.context() as other:
                other.setattr(claims, "writer_name", lambda: "elsewhere-1")
                late.add(first, shard)

    monkeypatch.setattr(Folder, "delete", deleting)
    compact(small, shard_bytes=BIG)
    assert done == [commit_object(first.name)]
    assert late.done == {*rows, FAILURE.key}
    check(small, rows, assert_holds)


def test_a_damaged_shard_stops_it_and_nothing_is_lost(small, rows, flip_value):
    before = {commit.name for commit in read_commits(Folder(small))}
    flip_value(small)
    with pytest.raises(ShardCorrupt, match="bytes changed"):
        compact(small, shard_bytes=BIG)
    assert len({commit.name for commit in read_commits(Folder(small))}) >= len(before) - 2
