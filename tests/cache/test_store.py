import json
import multiprocessing
from dataclasses import replace
from multiprocessing.reduction import ForkingPickler
from pathlib import Path

import numpy as np
import pytest

from promptfuse.cache.commits import Failure
from promptfuse.cache.keys import pack_keys
from promptfuse.cache.store import FeatureSet, FeatureWriter, feature_set_path, feature_sets
from promptfuse.errors import CacheError, CacheVersionError, ShardCorrupt

ABSENT = b"\xab" * 32


def test_rows_come_back_in_the_order_asked_for(write_set, make_rows, file_format, assert_holds):
    rows = make_rows(23)
    features = FeatureSet.open(write_set(rows, format=file_format))
    assert len(features) == 23
    assert features.keys == list(rows)
    assert_holds(features, rows)
    shuffled = list(rows)
    np.random.default_rng(0).shuffle(shuffled)
    assert_holds(features, {key: rows[key] for key in shuffled})


def test_a_key_may_be_asked_for_twice_and_none_at_all(write_set, make_rows, file_format):
    rows = make_rows(9)
    features = FeatureSet.open(write_set(rows, format=file_format))
    key = list(rows)[5]
    packed = features.read([key, key, key], "frames")
    assert packed.values.tobytes() == rows[key]["frames"].tobytes() * 3
    nothing = features.read([], "frames")
    assert nothing.values.shape == (0, 2, 3)
    assert nothing.offsets.tolist() == [0]
    assert len(nothing) == 0


def test_keys_may_be_packed(write_set, make_rows):
    rows = make_rows(9)
    features = FeatureSet.open(write_set(rows))
    keys = list(rows)[::2]
    packed = features.read(pack_keys(keys), "count")
    np.testing.assert_array_equal(packed.values, [rows[key]["count"] for key in keys])
    with pytest.raises(CacheError, match=ABSENT.hex()):
        features.read(pack_keys([*keys, ABSENT]), "count")


def test_membership_and_places(write_set, make_rows):
    rows = make_rows(9)
    features = FeatureSet.open(write_set(rows))
    keys = list(rows)
    assert all(key in features for key in keys)
    assert ABSENT not in features
    assert bytes(32) not in features
    assert b"\xff" * 32 not in features
    assert keys[2].rstrip(b"\0") not in features  # 28 bytes are no key
    assert "text" not in features
    assert features.find([keys[7], ABSENT, keys[0]]).tolist() == [7, -1, 0]
    rows_read = features.read_rows(np.array([7, 0]), "count").values.tolist()
    assert rows_read == [rows[keys[7]]["count"], rows[keys[0]]["count"]]


@pytest.mark.parametrize("numbers", [[0, -1], [0, 9]])
def test_numbers_of_no_row_are_refused(write_set, make_rows, numbers: list[int]):
    features = FeatureSet.open(write_set(make_rows(9)))
    with pytest.raises(IndexError, match=f"rows {min(numbers)} to {max(numbers)} of 9"):
        features.read_rows(np.array(numbers), "count")


def test_missing_keys_and_fields_are_named(write_set, make_rows):
    rows = make_rows(5)
    features = FeatureSet.open(write_set(rows))
    with pytest.raises(CacheError, match=f"{ABSENT.hex()}; run: pfcli extract --modality video"):
        features.read([*rows, ABSENT], "pooler")
    with pytest.raises(CacheError, match="not 'cls'"):
        features.read(list(rows), "cls")
    with pytest.raises(CacheError, match="b'short' has 5"):
        features.read([b"short"], "pooler")


def test_a_set_without_rows(tmp_path: Path, manifest, file_format):
    with FeatureWriter(tmp_path, manifest, format=file_format) as writer:
        pass
    features = FeatureSet.open(writer.path)
    assert (len(features), features.keys, features.size_bytes) == (0, [], 0)
    assert ABSENT not in features
    assert features.read([], "pooler").values.shape == (0, 4)
    with pytest.raises(CacheError, match=ABSENT.hex()):
        features.read([ABSENT], "pooler")


def test_shards_of_both_formats_mix(tmp_path: Path, manifest, make_rows, assert_holds):
    rows = make_rows(12)
    items = list(rows.items())
    for start, file_format in ((0, "arrow"), (4, "hdf5"), (8, "arrow")):
        with FeatureWriter(tmp_path, manifest, format=file_format) as writer:
            for key, row in items[start : start + 4]:
                writer.append(key, row)
    features = FeatureSet.open(writer.path)
    files = [commit.file for commit in features.commits]
    assert files == ["shard-00000.arrow", "shard-00001.h5", "shard-00002.arrow"]
    assert_holds(features, rows)


def test_both_formats_give_equal_arrays(tmp_path: Path, manifest, make_rows):
    rows, opened = make_rows(10), []
    for file_format in ("arrow", "hdf5"):
        with FeatureWriter(tmp_path / file_format, manifest, format=file_format) as writer:
            for key, row in rows.items():
                writer.append(key, row)
        opened.append(FeatureSet.open(writer.path))
    for spec in manifest.fields:
        one, two = (features.read(list(rows), spec.name) for features in opened)
        assert one.values.tobytes() == two.values.tobytes()
        assert one.values.dtype == two.values.dtype
        np.testing.assert_array_equal(one.offsets, two.offsets)


def test_what_is_read_is_a_copy(write_set, make_rows, file_format, assert_holds):
    rows = make_rows(5)
    features = FeatureSet.open(write_set(rows, format=file_format))
    features.read(list(rows), "pooler").values[...] = 0
    assert_holds(features, rows)


def test_a_pickled_set_is_small_and_maps_anew(write_set, make_rows, file_format, assert_holds):
    rows = make_rows(9)
    features = FeatureSet.open(write_set(rows, format=file_format))
    assert_holds(features, rows)
    content = bytes(ForkingPickler.dumps(features))  # what a data loader's worker gets
    assert len(content) < 4000
    copy = ForkingPickler.loads(content)
    assert_holds(copy, rows)
    assert copy.fingerprint == features.fingerprint


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("used_before", [False, True])
def test_a_set_crosses_a_fork(write_set, make_rows, file_format, used_before, assert_holds):
    rows = make_rows(25)
    features = FeatureSet.open(write_set(rows, format=file_format))
    if used_before:
        assert_holds(features, rows)
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=assert_holds, args=(features, rows)) for _ in range(3)]
    for worker in workers:
        worker.start()
    assert_holds(features, rows)
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0


@pytest.mark.parametrize("method", ["spawn"])
def test_a_set_goes_to_a_new_process(write_set, make_rows, file_format, method):
    rows = make_rows(9)
    features = FeatureSet.open(write_set(rows, format=file_format))
    expected = features.read(list(rows), "frames")
    with multiprocessing.get_context(method).Pool(1) as pool:
        found = pool.apply(FeatureSet.read, (features, list(rows), "frames"))
    assert found.values.tobytes() == expected.values.tobytes()


def test_an_open_set_stays_as_it_was(tmp_path: Path, manifest, make_rows, assert_holds):
    rows = make_rows(8)
    items = list(rows.items())
    with FeatureWriter(tmp_path, manifest) as writer:
        for key, row in items[:4]:
            writer.append(key, row)
        writer.commit()
        early = FeatureSet.open(writer.path)
        for key, row in items[4:]:
            writer.append(key, row)
        writer.fail(Failure(ABSENT, "a", "damaged", "b"))
    assert_holds(early, dict(items[:4]))
    assert len(early) == 4
    assert items[5][0] not in early
    assert early.failures == []


def test_a_newer_set_is_refused(write_set, make_rows):
    path = write_set(make_rows(1))
    content = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps({**content, "schema_version": 3}))
    with pytest.raises(CacheVersionError, match=r"cache version 3, .* reads up to version 2"):
        FeatureSet.open(path)


def test_a_missing_shard_is_noticed_at_opening(write_set, make_rows, file_format):
    path = write_set(make_rows(8), format=file_format)
    shard = next(path.glob("shard-00001.*"))
    shard.unlink()
    with pytest.raises(ShardCorrupt, match=rf"{shard.name}: missing"):
        FeatureSet.open(path)


@pytest.mark.parametrize("change", [-1, 1])
def test_a_shard_of_another_size_is_noticed_at_opening(write_set, make_rows, file_format, change):
    path = write_set(make_rows(8), format=file_format)
    shard = next(path.glob("shard-00001.*"))
    content = shard.read_bytes()
    shard.write_bytes(content[:-1] if change < 0 else content + b"x")
    sizes = rf"{len(content)} bytes were committed, the file has {len(content) + change}"
    with pytest.raises(ShardCorrupt, match=rf"{shard.name}: {sizes}"):
        FeatureSet.open(path)


def test_swapped_shards_are_noticed(write_set, make_rows):
    rows = make_rows(4)
    for row in rows.values():  # the same sizes everywhere
        row["frames"] = np.zeros((1, 2, 3), np.float32)
        row["samples"] = np.zeros(1, np.int16)
    path = write_set(rows, shard_rows=2)
    one, two = path / "shard-00000.arrow", path / "shard-00001.arrow"
    first, second = one.read_bytes(), two.read_bytes()
    assert len(first) == len(second)
    one.write_bytes(second)
    two.write_bytes(first)
    with pytest.raises(ShardCorrupt, match=r"shard-00000\.arrow: first or last key"):
        FeatureSet.open(path).read(list(rows), "pooler")


def test_a_key_with_two_rows_is_noticed(write_set, make_rows):
    rows = make_rows(2)
    path = write_set(rows, shard_rows=2)
    line = (path / "commits.jsonl").read_text()
    (path / "shard-00001.arrow").write_bytes((path / "shard-00000.arrow").read_bytes())
    (path / "commits.jsonl").write_text(line + line.replace("shard-00000", "shard-00001"))
    with pytest.raises(ShardCorrupt, match=f"{min(rows).hex()} has two rows"):
        FeatureSet.open(path).read(list(rows), "pooler")


def test_a_garbled_log_is_named_by_line(write_set, make_rows):
    path = write_set(make_rows(8))
    log = path / "commits.jsonl"
    first, second = log.read_text().splitlines()
    log.write_text(f"{first[:-9]}\n{second}\n")
    with pytest.raises(CacheError, match=r"commits\.jsonl:1: not a JSON line"):
        FeatureSet.open(path)
    log.write_text(f'{first}\n{{"file": "x"}}\n')
    with pytest.raises(CacheError, match=r"commits\.jsonl:2: not a commit: .*rows"):
        FeatureSet.open(path)


def test_lost_failure_lines_are_noticed(tmp_path: Path, manifest):
    with FeatureWriter(tmp_path, manifest) as writer:
        writer.fail(Failure(ABSENT, "a", "damaged", "b"))
    (writer.path / "failures.jsonl").write_text("")
    with pytest.raises(CacheError, match=r"failures\.jsonl: 1 lines were committed, 0 are there"):
        _ = FeatureSet.open(writer.path).failures


def test_sets_are_listed_by_modality(tmp_path: Path, manifest):
    assert feature_sets(tmp_path) == []
    made = [manifest, replace(manifest, modality="audio"), replace(manifest, identity={"id": "b"})]
    for one in made:
        with FeatureWriter(tmp_path, one) as writer:
            pass
        assert writer.path == feature_set_path(tmp_path, one.modality, one.fingerprint)
    (tmp_path / "features" / "video" / "half-made").mkdir()
    assert [one.modality for one in feature_sets(tmp_path)] == ["audio", "video", "video"]
    assert {one.fingerprint for one in feature_sets(tmp_path, "video")} == {
        manifest.fingerprint,
        made[2].fingerprint,
    }
    assert feature_sets(tmp_path, "image") == []


def test_no_set_names_the_command(tmp_path: Path):
    with pytest.raises(
        CacheError, match=r"nowhere/manifest\.json: no such file; run: pfcli extract"
    ):
        FeatureSet.open(tmp_path / "nowhere")
