import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from promptfuse.cache.commits import Failure, read_commits
from promptfuse.cache.keys import BLANK_KEY
from promptfuse.cache.manifest import FieldSpec, Manifest
from promptfuse.cache.store import FeatureSet, FeatureWriter
from promptfuse.errors import CacheBusy, CacheError, FeatureNotFinite, ShardCorrupt, UnknownName

FAILURE = Failure(b"f" * 32, "clips/a.mp4", "damaged", "cut short at 2.5 s")


def names(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.iterdir() if not entry.name.startswith("."))


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
    assert [commit.rows for commit in features.commits] == [3, 2, 2]
    extension = {"arrow": "arrow", "hdf5": "h5"}[file_format]
    assert names(writer.path) == [
        "commits.jsonl",
        "manifest.json",
        *(f"shard-0000{n}.{extension}" for n in range(3)),
    ]
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
    assert [commit.file for commit in features.commits] == [
        "shard-00000.arrow",
        "shard-00001.arrow",
    ]
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
    keyless = Failure(None, "gone.mp4", "missing", "no such file")
    with FeatureWriter(tmp_path, manifest) as writer:
        writer.fail(keyless)
        writer.commit()
        writer.append(key, row)
        writer.fail(FAILURE)
        assert FeatureSet.open(writer.path).failures == [keyless]
    features = FeatureSet.open(writer.path)
    assert features.failures == [keyless, FAILURE]
    assert [(c.file, c.rows, c.failures) for c in features.commits] == [
        (None, 0, 1),
        ("shard-00000.arrow", 1, 2),
    ]
    with FeatureWriter(tmp_path, manifest) as writer:
        assert writer.done == {key, FAILURE.key}


def test_retrying_failures_forgets_them_and_keeps_rows(tmp_path: Path, manifest, make_rows):
    (key, row), (other, other_row) = make_rows(2).items()
    with FeatureWriter(tmp_path, manifest) as writer:
        writer.append(key, row)
        writer.fail(replace(FAILURE, key=other))
    with FeatureWriter(tmp_path, manifest, retry_failures=True) as writer:
        assert writer.done == {key}
        writer.append(other, other_row)
    features = FeatureSet.open(writer.path)
    assert features.failures == []
    assert features.keys == [key, other]


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


def test_a_second_writer_is_turned_away(tmp_path: Path, manifest, make_rows):
    (key, row), *_ = make_rows(1).items()
    script = (
        "import sys, pathlib\n"
        "from promptfuse.cache.manifest import read_manifest\n"
        "from promptfuse.cache.store import FeatureWriter\n"
        "root, folder = map(pathlib.Path, sys.argv[1:])\n"
        "with FeatureWriter(root, read_manifest(folder)):\n"
        "    pass\n"
    )
    with FeatureWriter(tmp_path, manifest) as writer:
        writer.append(key, row)
        command = [sys.executable, "-c", script, str(tmp_path), str(writer.path)]
        other = subprocess.run(command, capture_output=True, text=True, check=False)
        assert other.returncode == 1
        assert f"CacheBusy: {writer.path}: another process is writing here" in other.stderr
        with pytest.raises(CacheBusy, match="another process"), FeatureWriter(tmp_path, manifest):
            pass
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    assert FeatureSet.open(writer.path).keys == [key]


def test_leftovers_of_a_killed_writer_are_removed(write_set, make_rows, manifest, tmp_path: Path):
    path = write_set(make_rows(4))
    before = names(path)
    stray = ["shard-00001.arrow", "shard-00007.h5", ".shard-00001.arrow.123.partial"]
    for name in stray:
        (path / name).write_bytes(b"half")
    (path / "notes.txt").write_text("mine")
    with (path / "failures.jsonl").open("a") as log:
        log.write(json.dumps(FAILURE.to_json()) + "\n" + '{"key": "torn')
    with (path / "commits.jsonl").open("a") as log:
        log.write('{"file": "shard-00001.arrow", "ro')
    assert FeatureSet.open(path).failures == []
    with FeatureWriter(tmp_path, manifest) as writer:
        assert len(writer.done) == 4
    assert names(path) == sorted({*before, "failures.jsonl", "notes.txt"})
    assert (path / "failures.jsonl").read_bytes() == b""
    assert len(read_commits(path)) == 1


def test_a_log_torn_anywhere_goes_on(write_set, make_rows, manifest, tmp_path, folder_bytes):
    rows = make_rows(8)
    path = write_set(rows)
    whole = folder_bytes(path)
    log = path / "commits.jsonl"
    lines = log.read_bytes().splitlines(keepends=True)
    for length in range(len(lines[1])):
        log.write_bytes(lines[0] + lines[1][:length])
        with FeatureWriter(tmp_path, manifest) as writer:
            assert len(writer.done) == 4
            for key in list(rows)[4:]:
                writer.append(key, rows[key])
        assert folder_bytes(path) == whole


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
    (path / "shard-00000.arrow").unlink()
    with (
        pytest.raises(ShardCorrupt, match=r"shard-00000\.arrow: missing; .*--repair"),
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
