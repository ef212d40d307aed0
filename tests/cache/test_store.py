import json
import multiprocessing
from dataclasses import replace
from multiprocessing.reduction import ForkingPickler
from pathlib import Path

import numpy as np
import pytest

from promptfuse.cache.commits import Failure, put_commit, read_commits
from promptfuse.cache.convert import convert
from promptfuse.cache.keys import pack_keys
from promptfuse.cache.objects import Folder
from promptfuse.cache.sealed import seal
from promptfuse.cache.store import FeatureSet, FeatureWriter, feature_set_path, feature_sets
from promptfuse.errors import CacheError, CacheVersionError, ShardCorrupt

ABSENT = b"\xab" * 32


def test_rows_come_back_in_the_order_asked_for(write_set, make_rows, file_format, assert_holds):
    rows = make_rows(23)
    features = FeatureSet.open(write_set(rows, format=file_format))
    assert len(features) == 23
    assert sorted(features.keys) == sorted(rows)
    assert features.find(features.keys).tolist() == list(range(23))
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
    places = [features.keys.index(key) for key in (keys[7], keys[0])]
    assert features.find([keys[7], ABSENT, keys[0]]).tolist() == [places[0], -1, places[1]]
    rows_read = features.read_rows(np.array(places), "count").values.tolist()
    assert rows_read == [rows[keys[7]]["count"], rows[keys[0]]["count"]]


def test_keys_that_begin_alike_are_told_apart(write_set, make_rows, assert_holds):
    alike = enumerate(make_rows(5).values())
    rows = {b"alike..." + bytes([number]) * 24: row for number, row in alike}
    rows |= make_rows(6, seed=1)
    features = FeatureSet.open(write_set(rows))
    assert_holds(features, rows)
    absent = [b"alike..." + bytes([number]) * 24 for number in (9, 255)]
    assert features.find([*absent, features.keys[3]]).tolist() == [-1, -1, 3]


def test_rows_are_seen_as_they_are_mapped(write_set, make_rows, file_format):
    features = FeatureSet.open(write_set(make_rows(9), format=file_format))
    numbers = np.array([8, 0, 5, 0, 7])
    for field in features.manifest.names:
        packed = features.read_rows(numbers, field)
        seen = dict(features.views(numbers, field))
        assert sorted(seen) == list(range(5))
        for at, steps in seen.items():
            np.testing.assert_array_equal(steps, packed[at])
            assert not (steps.size and steps.flags.writeable)
        np.testing.assert_array_equal(features.lengths(numbers, field), np.diff(packed.offsets))


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
    assert features.formats == ("arrow", "hdf5")
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


@pytest.mark.parametrize("change", ["missing", -1, 1])
def test_a_shard_that_is_missing_or_of_another_size_is_noticed_at_opening(
    write_set, make_rows, file_format, change
):
    path = write_set(make_rows(8), format=file_format)
    shard = max(path.glob("shard-*"))
    content = shard.read_bytes()
    if change == "missing":
        shard.unlink()
        found = "missing"
    else:
        shard.write_bytes(content[:-1] if change < 0 else content + b"x")
        found = f"the file has {len(content) + change}"
    message = rf"{shard.name}: {len(content)} bytes were committed, {found}; .*verify --repair"
    with pytest.raises(ShardCorrupt, match=message):
        FeatureSet.open(path)


def test_swapped_shards_are_noticed(write_set, make_rows):
    rows = make_rows(4)
    for row in rows.values():  # the same sizes everywhere
        row["frames"] = np.zeros((1, 2, 3), np.float32)
        row["samples"] = np.zeros(1, np.int16)
    path = write_set(rows, shard_rows=2)
    one, two = sorted(path.glob("shard-*"))
    first, second = one.read_bytes(), two.read_bytes()
    assert len(first) == len(second)
    one.write_bytes(second)
    two.write_bytes(first)
    with pytest.raises(ShardCorrupt, match=rf"{one.name}: bytes changed: sha256"):
        FeatureSet.open(path).read(list(rows), "pooler")


def test_a_shard_without_the_committed_keys_is_refused(write_set, make_rows):
    rows = make_rows(4)
    path = write_set(rows, shard_rows=2)
    one, two = read_commits(Folder(path))
    put_commit(Folder(path), replace(one, keys=two.keys), replace=True)
    with pytest.raises(ShardCorrupt, match="its keys are not those that were committed"):
        FeatureSet.open(path).read(list(rows), "pooler")


def test_a_flipped_value_is_noticed_when_it_is_read(write_set, make_rows, file_format, flip_value):
    rows = make_rows(8)
    path = write_set(rows, format=file_format)
    shard = flip_value(path)
    features = FeatureSet.open(path)
    damaged = next(commit for commit in features.commits if commit.file == shard.name)
    good = [key for key in rows if key not in damaged.row_keys]
    assert len(features.read(good, "pooler")) == 4  # the other shard serves
    with pytest.raises(ShardCorrupt, match=rf"{shard.name}: bytes changed: sha256 .*--repair"):
        features.read(list(rows), "pooler")


def test_of_a_key_with_two_rows_the_first_counts(tmp_path, manifest, make_rows, assert_holds):
    rows = make_rows(5)
    keys = list(rows)
    with FeatureWriter(tmp_path, manifest) as one, FeatureWriter(tmp_path, manifest) as two:
        for writer, chosen in ((one, keys[:3]), (two, keys[1:])):
            for key in chosen:
                writer.append(key, rows[key])
    features = FeatureSet.open(one.path)
    assert sum(commit.rows for commit in features.commits) == 7
    assert len(features) == len(features.keys) == 5
    assert features.find(features.keys).tolist() == [0, 1, 2, 3, 4]
    assert features.count_steps("frames") == sum(len(row["frames"]) for row in rows.values())
    assert_holds(features, rows)


def test_a_garbled_commit_is_named(write_set, make_rows):
    path = write_set(make_rows(8))
    commit, other = sorted((path / "commits").iterdir())
    content = commit.read_bytes()
    place = content.index(b'"keys": "') + 12
    commit.write_bytes(content[:place] + b"!" + content[place + 1 :])
    with pytest.raises(CacheError, match=rf"{commit.name}: its content does not give the checksum"):
        FeatureSet.open(path)
    commit.write_bytes(seal({"file": "x"}))
    with pytest.raises(CacheError, match=rf"{commit.name}: not a commit: .*keys"):
        FeatureSet.open(path)
    commit.write_bytes(other.read_bytes())
    with pytest.raises(CacheError, match=rf"{commit.name}: its media have the name {other.stem}"):
        FeatureSet.open(path)


def test_a_set_that_is_converted_meanwhile_goes_on(
    write_set, make_rows, file_format, other_format, assert_holds, monkeypatch
):
    monkeypatch.setattr("promptfuse.cache.maps._MOST_MAPS", 1)
    rows = make_rows(12)
    path = write_set(rows, format=file_format)
    unread, begun = FeatureSet.open(path), FeatureSet.open(path)
    assert_holds(begun, dict(list(rows.items())[:4]))
    convert(path, other_format)
    assert_holds(unread, rows)
    assert_holds(begun, rows)


def test_only_so_many_shards_are_mapped_at_once(write_set, make_rows, assert_holds, monkeypatch):
    monkeypatch.setattr("promptfuse.cache.maps._MOST_MAPS", 3)
    rows = make_rows(40)
    path = write_set(rows, shard_rows=2)
    features = FeatureSet.open(path)
    assert_holds(features, rows)
    maps = Path("/proc/self/maps").read_text()
    assert 0 < maps.count(str(path)) <= 3


def test_a_damaged_set_blocks_no_other(tmp_path: Path, manifest, make_rows, capsys):
    rows = make_rows(2)
    paths = []
    for identity in ({"id": "a"}, {"id": "b"}):
        with FeatureWriter(tmp_path, replace(manifest, identity=identity)) as writer:
            for key, row in rows.items():
                writer.append(key, row)
        paths.append(writer.path)
    next(paths[0].glob("shard-*")).unlink()
    damaged: dict[Path, CacheError] = {}
    (good,) = feature_sets(tmp_path, damaged=damaged)
    assert good.path == paths[1]
    assert list(damaged) == [paths[0]]
    assert "missing" in str(damaged[paths[0]])
    assert capsys.readouterr().err == ""
    for _ in range(2):
        assert [features.path for features in feature_sets(tmp_path)] == [paths[1]]
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert said[0].startswith(f"a damaged feature set is left out: {paths[0]}")


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
