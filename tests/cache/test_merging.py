from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from promptfuse.cache.commits import Failure
from promptfuse.cache.example_table import DatasetInfo, Example
from promptfuse.cache.examples import read_examples, read_failures, write_examples
from promptfuse.cache.merging import merge
from promptfuse.cache.store import FeatureSet, FeatureWriter, feature_sets
from promptfuse.errors import CacheError, ShardCorrupt

INFO = DatasetInfo("jokes", "table", "text", modalities=("video",), splits={"train": 2})
EXAMPLES = [Example(id="1", text="a", media={"video": b"\1" * 32}), Example(id="2", text="b")]
REFUSED = [Failure(None, "x.mp4", "missing", "no such file: x.mp4")]


@pytest.fixture
def write(tmp_path, manifest):
    def write_cache(name, rows, failures=(), *, file_format="arrow", retry=()):
        with FeatureWriter(tmp_path / name, manifest, format=file_format) as writer:
            for number, (key, row) in enumerate(rows.items(), start=1):
                writer.append(key, row)
                if number % 4 == 0:
                    writer.commit()
            for failure in failures:
                writer.fail(failure)
            writer.commit()
            writer.forget(failure.key for failure in retry)
            for failure in retry:
                writer.claim([failure.key])
                writer.fail(failure)
        return tmp_path / name

    return write_cache


def failure_of(number: int, message: str = "cut short") -> Failure:
    return Failure(bytes([number]) * 32, f"{number}.mp4", "damaged", message)


def only_set(cache: Path) -> FeatureSet:
    (features,) = feature_sets(cache)
    return features


def test_rows_failures_and_datasets_of_all_come_into_one_once(
    write, make_rows, assert_holds, tmp_path, file_format
):
    rows = make_rows(20)
    keys = list(rows)
    a = write("a", {key: rows[key] for key in keys[:12]}, [failure_of(250), failure_of(251)])
    b = write(
        "b", {key: rows[key] for key in keys[7:]}, [failure_of(251, "other")],
        file_format=file_format, retry=[failure_of(251, "later")],
    )  # fmt: skip
    write_examples(b, INFO, {"train": EXAMPLES}, REFUSED)
    into = tmp_path / "both"
    brought = merge([a, b], into)
    assert [(one.source, one.count, one.failures) for one in brought] == [
        (a, 12, 2),
        (b, 8, 0),
        (b, 2, 0),
    ]
    features = only_set(into)
    assert len(features) == 20
    assert sum(commit.rows for commit in features.commits) == 20
    assert_holds(features, rows)
    assert sorted(failure.message for failure in features.failures) == ["cut short"] * 2
    assert list(read_examples(into, "jokes", "train")) == EXAMPLES
    assert read_failures(into, "jokes") == REFUSED
    assert [one.count for one in merge([a, b], into)] == [0, 0]  # all is there
    with FeatureWriter(into, features.manifest) as writer:
        assert writer.done == {*rows, bytes([250]) * 32, bytes([251]) * 32}


def test_a_row_takes_the_place_of_a_failure_of_the_same_media(write, make_rows, assert_holds):
    rows = make_rows(3)
    failed = [Failure(key, "x", "damaged", "cut short") for key in rows]
    a, b = write("a", rows), write("b", {}, failed)
    merge([a], b)  # the same media, so commits of one name but for the attempt
    assert_holds(only_set(b), rows)
    assert only_set(b).failures == []
    merge([b], a)
    assert only_set(a).failures == []


def test_caches_that_disagree_about_a_row_stay_as_they_are(
    write, make_rows, folder_bytes, tmp_path
):
    rows = make_rows(9)
    other = {key: dict(row) for key, row in rows.items()}
    wrong = list(rows)[6]
    other[wrong]["samples"] = np.append(other[wrong]["samples"], np.int16(5))
    a, b = write("a", rows), write("b", {**make_rows(5, seed=1), **other})
    before = folder_bytes(a)
    with pytest.raises(CacheError, match=f"key {wrong.hex()}: the row in .*/a/.*/b/.*nothing was"):
        merge([b], a)
    assert folder_bytes(a) == before
    with pytest.raises(CacheError, match=f"video features .*, key {wrong.hex()}"):
        merge([a, b], tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_one_value_that_differs_is_found(write, make_rows):
    rows = make_rows(300)
    other = {key: dict(row) for key, row in rows.items()}
    wrong = list(rows)[290]
    other[wrong]["pixels"] = other[wrong]["pixels"] ^ np.uint8(1)
    with pytest.raises(CacheError, match=f"key {wrong.hex()}"):
        merge([write("b", other)], write("a", rows))


def test_datasets_of_one_name_with_other_examples_are_refused(write, make_rows, tmp_path):
    a, b = write("a", make_rows(2)), write("b", make_rows(3))
    write_examples(a, INFO, {"train": EXAMPLES})
    write_examples(b, INFO, {"train": [EXAMPLES[0], replace(EXAMPLES[1], text="c")]})
    with pytest.raises(CacheError, match=r"dataset 'jokes': its examples in .*/a differ .*OTHER"):
        merge([b], a)
    assert len(only_set(a)) == 2
    merge([b], a, datasets=False)
    assert len(only_set(a)) == 3
    assert list(read_examples(a, "jokes", "train")) == EXAMPLES
    write_examples(b, INFO, {"train": EXAMPLES})
    assert [one.count for one in merge([b], a)] == [0]


def test_what_is_no_cache_or_the_same_one_is_refused(write, make_rows, tmp_path, monkeypatch):
    a = write("a", make_rows(2))
    (tmp_path / "empty").mkdir()
    for source in ("empty", "absent"):
        with pytest.raises(CacheError, match=f"{source}: no cache: it has neither"):
            merge([tmp_path / source], a)
    monkeypatch.chdir(tmp_path)
    for sources in (["a"], [tmp_path / "empty" / ".." / "a"], ["b", "b"]):
        with pytest.raises(CacheError, match=f"{sources[-1]}: the same cache as "):
            merge(sources, a)


def test_a_damaged_source_is_named_before_anything_is_written(
    write, make_rows, flip_value, tmp_path
):
    a = write("a", make_rows(12))
    shard = flip_value(only_set(a).path)
    with pytest.raises(ShardCorrupt, match=f"{shard.name}: bytes changed"):
        merge([a], tmp_path / "new")
    assert not (tmp_path / "new").exists()
    (only_set(a).path / "manifest.json").write_text("{}")
    with pytest.raises(CacheError, match=r"damaged, so .*/a cannot be merged: .*manifest.json"):
        merge([a], tmp_path / "new")


def test_a_cache_of_the_first_release_is_taken_and_still_found_by_its_old_name(tmp_path):
    written = Path(__file__).parent / "v1"
    brought = merge([written], tmp_path / "new")
    assert {one.what.partition("/")[0] for one in brought if "/" in one.what} == {"image", "audio"}
    for old in feature_sets(written):
        (new,) = feature_sets(tmp_path / "new", old.modality)
        assert set(new.keys) == set(old.keys)
        assert new.failures == old.failures
        assert new.manifest.is_called(old.manifest.first_fingerprint)
    assert all(one.count == 0 for one in merge([written], tmp_path / "new"))
