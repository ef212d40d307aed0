from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from promptfuse.cache.atomic import writer_name
from promptfuse.cache.commits import Failure, slice_name
from promptfuse.cache.keys import BLANK_KEY
from promptfuse.cache.manifest import FieldSpec, Manifest
from promptfuse.cache.objects import Folder
from promptfuse.cache.store import FeatureSet, FeatureWriter
from promptfuse.cache.verify import repair
from promptfuse.errors import CacheError, FeatureNotFinite, ShardCorrupt, UnknownName

FAILURE = Failure(b"f" * 32, "clips/a.mp4", "damaged", "cut short at 2.5 s")


def files(path: Path) -> list[str]:
    return sorted(str(file.relative_to(path)) for file in path.rglob("*") if file.is_file())


def others_claim(path: Path, keys: list[bytes], writer: str = "elsewhere-1") -> Path:
    claim = path / "claims" / slice_name(keys)
    claim.parent.mkdir(exist_ok=True, parents=True)
    claim.write_text(writer)
    return claim


def test_each_commit_is_one_shard_and_leaving_commits_the_rest(
    tmp_path: Path, manifest: Manifest, make_rows, file_format: str, assert_holds
):
    rows = make_rows(7)
    with FeatureWriter(tmp_path, manifest, format=file_format) as writer:
        for number, (key, row) in enumerate(rows.items()):
            writer.append(key, row)
            assert key not in writer.done
            if number in (2, 4):
                writer.commit()
                writer.commit()  # nothing new: no shard
                assert key in writer.done
    assert writer.path == tmp_path / "features" / "video" / manifest.fingerprint
    features = FeatureSet.open(writer.path)
    keys = list(rows)
    parts = [slice_name(part) for part in (keys[:3], keys[3:5], keys[5:])]
    assert sorted(parts) == [commit.name for commit in features.commits]
    extension = {"arrow": "arrow", "hdf5": "h5"}[file_format]
    assert files(writer.path) == sorted(
        [
            *(f"commits/{part}.json" for part in parts),
            "manifest.json",
            *(f"shard-{c.name}-{str(c.sha256)[:16]}.{extension}" for c in features.commits),
        ]
    )
    assert_holds(features, rows)


def test_an_exception_forgets_what_was_not_committed(tmp_path: Path, manifest, make_rows):
    first, second = list(make_rows(2).items())

    def interrupted() -> None:
        with FeatureWriter(tmp_path, manifest) as writer:
            writer.append(*first)
            writer.commit()
            writer.append(*second)
            writer.fail(FAILURE)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    with FeatureWriter(tmp_path, manifest) as writer:
        assert writer.done == {first[0]}
    features = FeatureSet.open(writer.path)
    assert features.keys == [first[0]]
    assert features.failures == []


def test_a_second_run_adds_only_what_is_missing(tmp_path: Path, manifest, make_rows, assert_holds):
    rows = make_rows(6)
    for end in (3, 6):
        with FeatureWriter(tmp_path, manifest) as writer:
            for key, row in list(rows.items())[:end]:
                if key not in writer.done:
                    writer.append(key, row)
    features = FeatureSet.open(writer.path)
    assert sorted(commit.rows for commit in features.commits) == [3, 3]
    assert_holds(features, rows)


def test_the_blank_row_is_a_row_like_any_other(tmp_path: Path, manifest, make_rows, file_format):
    row = next(iter(make_rows(1).values()))
    with FeatureWriter(tmp_path, manifest, format=file_format) as writer:
        writer.append(BLANK_KEY, row)
    with FeatureWriter(tmp_path, manifest, format=file_format) as writer:
        assert BLANK_KEY in writer.done
    features = FeatureSet.open(writer.path)
    assert BLANK_KEY in features
    assert features.keys == [BLANK_KEY]


def test_failures_count_once_committed(tmp_path: Path, manifest, make_rows):
    (key, row), *_ = make_rows(1).items()
    limited = replace(FAILURE, key=b"g" * 32, limit={"max_pixels": 1000})
    with FeatureWriter(tmp_path, manifest) as writer:
        writer.fail(limited)
        writer.commit()
        writer.append(key, row)
        writer.fail(FAILURE)
        assert FeatureSet.open(writer.path).failures == [limited]
    features = FeatureSet.open(writer.path)
    assert {failure.key: failure for failure in features.failures} == {
        FAILURE.key: FAILURE,
        limited.key: limited,
    }
    commits = sorted((c.rows, len(c.failures), c.file is None) for c in features.commits)
    assert commits == [(0, 1, True), (1, 1, False)]
    with FeatureWriter(tmp_path, manifest) as writer:
        assert writer.done == {key, FAILURE.key, limited.key}
        assert writer.failures == {FAILURE.key: FAILURE, limited.key: limited}
        with pytest.raises(CacheError, match=r"gone\.mp4: a failure in a feature set has a key"):
            writer.fail(Failure(None, "gone.mp4", "missing", "no such file"))


def test_forgotten_failures_are_tried_again_and_the_last_attempt_stands(
    tmp_path: Path, manifest, make_rows
):
    (key, row), (other, other_row), (third, _) = make_rows(3).items()
    with FeatureWriter(tmp_path, manifest) as writer:
        writer.append(key, row)
        for failed in (other, third):
            writer.fail(replace(FAILURE, key=failed))
    again = replace(FAILURE, key=third, message="tried again")
    with FeatureWriter(tmp_path, manifest) as writer:
        writer.forget([key, other, third])
        assert writer.done == {key}
        assert writer.claim([key, other, third]) == [other, third]
        writer.append(other, other_row)
        writer.fail(again)
    features = FeatureSet.open(writer.path)
    assert features.failures == [again]
    assert set(features.keys) == {key, other}
    assert sorted(commit.attempt for commit in features.commits) == [1, 2]
    with FeatureWriter(tmp_path, manifest) as writer:
        assert writer.done == {key, other, third}
        assert writer.failures == {third: again}


def test_what_fails_again_in_the_same_slice_is_another_commit(tmp_path: Path, manifest):
    for attempt in (1, 2, 3):
        with FeatureWriter(tmp_path, manifest) as writer:
            writer.forget(list(writer.failures))
            writer.fail(replace(FAILURE, message=str(attempt)))
    features = FeatureSet.open(writer.path)
    stem = slice_name([FAILURE.key])
    assert [commit.name for commit in features.commits] == [stem, f"{stem}-2", f"{stem}-3"]
    assert [failure.message for failure in features.failures] == ["3"]


def test_a_claimed_slice_is_left_to_its_writer_unless_one_insists(
    tmp_path: Path, manifest, make_rows
):
    rows = make_rows(3)
    keys = list(rows)
    with FeatureWriter(tmp_path, manifest) as writer:
        claim = others_claim(writer.path, keys)
        assert writer.claim(keys) is None
        assert writer.claim(keys[:2]) == keys[:2]
        assert (claim.parent / slice_name(keys[:2])).read_text() == writer_name()
        writer.append(keys[0], rows[keys[0]])
        writer.commit()
        assert writer.claim(keys, insist=True) == keys[1:]
        for key in keys[1:]:
            writer.append(key, rows[key])
        writer.commit()
        assert writer.claim(keys) == []
    assert [path.name for path in claim.parent.iterdir()] == [claim.name]
    assert claim.read_text() == "elsewhere-1"
    assert sorted(FeatureSet.open(writer.path).keys) == sorted(keys)


def test_the_claim_of_a_writer_that_is_gone_counts_for_nothing(tmp_path: Path, manifest, make_rows):
    (key, row), *_ = make_rows(1).items()
    with FeatureWriter(tmp_path, manifest) as writer:
        gone = writer_name().rpartition("-")[0] + "-4194999"  # no process has this number
        claim = others_claim(writer.path, [key], gone)
        assert writer.claim([key]) == [key]
        assert claim.read_text() == writer_name()
        writer.append(key, row)
    assert not claim.exists()
    claim.write_text(gone)
    with FeatureWriter(tmp_path, manifest):
        assert not claim.exists()


def test_of_two_writers_of_one_slice_the_first_commit_counts(tmp_path: Path, manifest, make_rows):
    rows = make_rows(3)
    keys = list(rows)
    other = {key: {**row, "count": row["count"] + 1} for key, row in rows.items()}
    with FeatureWriter(tmp_path, manifest) as one, FeatureWriter(tmp_path, manifest) as two:
        for writer, given in ((one, rows), (two, other)):
            assert writer.claim(keys, insist=True) == keys
            for key in keys:
                writer.append(key, given[key])
        one.commit()
        two.commit()
        assert two.done == set(keys)
    features = FeatureSet.open(one.path)
    assert len(features) == 3
    assert features.read(keys, "count").values.tolist() == [rows[key]["count"] for key in keys]
    assert len(list(one.path.glob("shard-*"))) == 1
    assert not list((one.path / "claims").iterdir())


def test_what_others_committed_meanwhile_is_not_to_do(tmp_path: Path, manifest, make_rows):
    rows = make_rows(4)
    keys = list(rows)
    with FeatureWriter(tmp_path, manifest) as one, FeatureWriter(tmp_path, manifest) as two:
        two.append(keys[1], rows[keys[1]])
        two.fail(replace(FAILURE, key=keys[2]))
        two.commit()
        assert one.claim(keys) == [keys[0], keys[3]]
        assert one.claim(keys[1:3]) == []
    assert not list((one.path / "claims").iterdir())


def test_a_key_is_written_once(tmp_path: Path, manifest, make_rows):
    (key, row), (other, _) = make_rows(2).items()
    with FeatureWriter(tmp_path, manifest) as writer:
        writer.append(key, row)
        writer.fail(replace(FAILURE, key=other))
        for committed in (False, True):
            for twice in (key, other):
                with pytest.raises(CacheError, match=f"{twice.hex()} is there already"):
                    writer.append(twice, row)
                with pytest.raises(CacheError, match=f"{twice.hex()} is there already"):
                    writer.fail(replace(FAILURE, key=twice))
            if not committed:
                writer.commit()
    assert len(FeatureSet.open(writer.path)) == 1


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("pooler", np.zeros(4, np.float32), r"'pooler' .*\(4,\) and dtype float16 .* float32"),
        ("pooler", np.zeros(5, np.float16), r"'pooler' .*\(4,\) .* got \(5,\)"),
        ("pooler", np.zeros((1, 4), np.float16), r"'pooler' .* got \(1, 4\)"),
        ("frames", np.zeros((2, 3), np.float32), r"'frames' .*\('steps', 2, 3\) .* got \(2, 3\)"),
        ("samples", np.zeros((), np.int16), r"'samples' .*\('steps',\) .* got \(\)"),
        ("count", np.zeros(1, np.int64), r"'count' .* got \(1,\)"),
    ],
)
def test_values_of_another_shape_or_dtype_are_refused(
    tmp_path: Path, manifest, make_rows, field: str, value: np.ndarray, message: str
):
    (key, row), *_ = make_rows(1).items()
    with FeatureWriter(tmp_path, manifest) as writer:
        with pytest.raises(CacheError, match=message):
            writer.append(key, {**row, field: value})
        writer.append(key, row)  # the refused row left no trace


def test_rows_have_exactly_the_fields_of_the_manifest(tmp_path: Path, manifest, make_rows):
    (key, row), *_ = make_rows(1).items()
    with FeatureWriter(tmp_path, manifest) as writer:
        with pytest.raises(CacheError, match=r"got \['count', 'extra', "):
            writer.append(key, {**row, "extra": row["pooler"]})
        with pytest.raises(CacheError, match=r"got \['pooler'\]"):
            writer.append(key, {"pooler": row["pooler"]})
        with pytest.raises(CacheError, match="b'short' has 5"):
            writer.append(b"short", row)
    assert len(FeatureSet.open(writer.path)) == 0


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_named(tmp_path: Path, manifest, make_rows, bad: float):
    (key, row), *_ = make_rows(1).items()
    value = np.array([1, bad, 2, bad], np.float16)
    with FeatureWriter(tmp_path, manifest) as writer:
        message = rf"'pooler' of {key.hex()}: 2 of 4 values .* in float16"
        with pytest.raises(FeatureNotFinite, match=message) as caught:
            writer.append(key, {**row, "pooler": value})
        assert caught.value.reason == "not-finite"
        writer.fail(Failure(key, "a", caught.value.reason, str(caught.value)))
    assert FeatureSet.open(writer.path).failures[0].reason == "not-finite"


def test_what_was_appended_is_a_copy(tmp_path: Path, manifest, make_rows, assert_holds):
    (key, row), *_ = make_rows(1).items()
    reused = {name: np.array(value) for name, value in row.items()}
    with FeatureWriter(tmp_path, manifest) as writer:
        writer.append(key, reused)
        for value in reused.values():
            value[...] = 0
    assert_holds(FeatureSet.open(writer.path), {key: row})


def test_what_a_killed_writer_left_is_done_again(write_set, make_rows, manifest, tmp_path: Path):
    rows = make_rows(8)
    keys = list(rows)
    path = write_set(dict(list(rows.items())[:4]))
    before = files(path)
    stem = slice_name(keys[4:])
    gone = writer_name().rpartition("-")[0] + "-4194999"
    (path / f"shard-{stem}-{'0' * 16}.arrow").write_bytes(b"placed, not committed")
    (path / f".shard-{stem}-.arrow.7.{gone}.partial").write_bytes(b"half")
    others_claim(path, keys[4:], gone)
    (path / "notes.txt").write_text("mine")
    assert len(FeatureSet.open(path)) == 4
    with FeatureWriter(tmp_path, manifest) as writer:
        assert len(writer.done) == 4
        assert not list(path.glob(".*"))
        for key in writer.claim(keys[4:]) or []:
            writer.append(key, rows[key])
    repair(path)
    after = set(files(path)) - {*before, "notes.txt"}
    assert {Path(file).suffix for file in after} == {".json", ".arrow"}
    assert len(after) == 2


def test_shards_that_lost_their_commits_stop_the_writer(write_set, make_rows, manifest, tmp_path):
    path = write_set(make_rows(8))
    lost, *_ = sorted((path / "commits").iterdir())
    lost.unlink()
    with (
        pytest.raises(CacheError, match=rf"1 shards, such as shard-{lost.stem}-.*verify --repair"),
        FeatureWriter(tmp_path, manifest),
    ):
        pass


def test_a_failed_commit_is_not_half_repeated(tmp_path: Path, manifest, make_rows, monkeypatch):
    first, second = list(make_rows(2).items())
    with FeatureWriter(tmp_path, manifest) as writer:
        writer.append(*first)
        writer.commit()
        writer.append(*second)
        writer.fail(FAILURE)
        with monkeypatch.context() as patch:
            patch.setattr("promptfuse.cache.writer.place_shard", _disk_full)
            with pytest.raises(OSError, match="no space left"):
                writer.commit()
        with pytest.raises(CacheError, match="an earlier commit failed; open the set again"):
            writer.commit()
    with FeatureWriter(tmp_path, manifest) as writer:
        assert writer.done == {first[0]}
        writer.fail(FAILURE)
    assert FeatureSet.open(writer.path).failures == [FAILURE]


def _disk_full(*args: object, **kwargs: object) -> None:
    raise OSError("no space left")


def test_a_missing_shard_stops_the_writer(write_set, make_rows, manifest, tmp_path: Path):
    path = write_set(make_rows(8))
    shard = min(path.glob("shard-*"))
    shard.unlink()
    with (
        pytest.raises(ShardCorrupt, match=rf"{shard.name}: .* were committed, missing; .*--repair"),
        FeatureWriter(tmp_path, manifest),
    ):
        pass


def test_a_folder_made_otherwise_is_refused(tmp_path: Path, manifest: Manifest):
    other = replace(manifest, fields=(FieldSpec("pooler", "float16", (8,)),))
    with FeatureWriter(tmp_path, manifest) as writer:
        pass
    writer.path.rename(writer.path.with_name(other.fingerprint))
    with (
        pytest.raises(CacheError, match=r"made otherwise: fields: .* here, .*\[8\].* wanted"),
        FeatureWriter(tmp_path, other),
    ):
        pass


def test_an_unknown_format_is_named(tmp_path: Path, manifest: Manifest):
    with pytest.raises(UnknownName, match="unknown format 'zarr'; choose one of: arrow, hdf5"):
        FeatureWriter(tmp_path, manifest, format="zarr")


def test_a_claim_lists_all_commits_no_more_often_than_that_pays(
    tmp_path, manifest, make_rows, monkeypatch
):
    rows = make_rows(9)
    keys, lists, held = list(rows), [], Folder.list
    monkeypatch.setattr(Folder, "list", lambda self, at="": lists.append(at) or held(self, at))
    with FeatureWriter(tmp_path, manifest) as first, FeatureWriter(tmp_path, manifest) as second:
        second._next_look = float("inf")  # the last look was a costly one
        first.append(keys[0], rows[keys[0]])
        first.commit()
        lists.clear()
        assert second.claim(keys[:1]) == []  # its own name is looked up all the same
        assert second.claim(keys[1:3]) == keys[1:3]
        assert lists == []
        second._next_look = 0.0
        second.claim(keys[3:5])
        assert lists != []
