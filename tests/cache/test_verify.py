import json
from pathlib import Path

import pytest

from promptfuse.cache.commits import Failure, read_commits
from promptfuse.cache.examples import DatasetInfo, Example, read_examples, write_examples
from promptfuse.cache.keys import file_sha256
from promptfuse.cache.store import FeatureSet, FeatureWriter
from promptfuse.cache.verify import repair, verify, verify_examples
from promptfuse.errors import CacheBusy, CacheError, ShardCorrupt

FAILURE = Failure(b"f" * 32, "a.mp4", "damaged", "cut short")


@pytest.fixture
def path(write_set, make_rows, file_format, tmp_path: Path, manifest) -> Path:
    path = write_set(make_rows(11), format=file_format)
    with FeatureWriter(tmp_path, manifest) as writer:
        writer.fail(FAILURE)
    return path


def bad(path: Path) -> dict[str, str]:
    return {check.file: check.reason for check in verify(path) if not check.ok}


def test_a_sound_set_passes(path: Path):
    told: list[tuple[int, int]] = []
    checks = verify(path, progress=lambda done, total: told.append((done, total)))
    names = [Path(check.file).stem for check in checks]
    assert names == ["shard-00000", "shard-00001", "shard-00002", "failures"]
    assert all(check.ok and check.reason == "" for check in checks)
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_any_flipped_byte_is_found(path: Path):
    shard = next(path.glob("shard-00001.*"))
    content = shard.read_bytes()
    for place in range(0, len(content), max(1, len(content) // 60)):
        shard.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        assert list(bad(path)) == [shard.name]
        assert "bytes changed: sha256" in bad(path)[shard.name]


def test_a_short_and_a_missing_shard_are_found(path: Path):
    first, second, _ = sorted(path.glob("shard-*"))
    size_bytes = first.stat().st_size
    first.write_bytes(first.read_bytes()[:-1])
    second.unlink()
    found = bad(path)
    assert list(found) == [first.name, second.name]
    assert f"{size_bytes} bytes were committed, the file has {size_bytes - 1}" in found[first.name]
    assert "missing" in found[second.name]


def test_a_log_that_disagrees_is_found(path: Path):
    log = path / "commits.jsonl"
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    for change, message in [
        ({"rows": 5}, "5 rows were committed, 4 are there"),
        ({"first_key": "00" * 32}, "first or last key is not the committed one"),
        ({"sha256": "00" * 32}, "bytes changed: sha256 0000"),
    ]:
        changed = [{**lines[0], **change}, *lines[1:]]
        log.write_text("".join(json.dumps(line) + "\n" for line in changed))
        assert message in bad(path)[lines[0]["file"]]


def test_a_key_in_two_shards_is_found(path: Path):
    first, second, _ = sorted(path.glob("shard-*"))
    second.write_bytes(first.read_bytes())
    lines = [json.loads(line) for line in (path / "commits.jsonl").read_text().splitlines()]
    lines[1] = {**lines[0], "file": second.name}
    (path / "commits.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert file_sha256(first) == file_sha256(second)
    assert bad(path) == {second.name: f"{second}: a key comes twice in this feature set"}


def test_lost_failure_lines_are_found(path: Path):
    (path / "failures.jsonl").write_text("")
    assert "1 lines were committed, 0 are there" in bad(path)["failures.jsonl"]


def test_a_garbled_log_cannot_be_verified(path: Path):
    with (path / "commits.jsonl").open("a") as log:
        log.write("garbage\n")
    with pytest.raises(CacheError, match=r"commits\.jsonl:5: not a JSON line: b'garbage'"):
        verify(path)


def test_repair_gives_up_what_is_bad_and_keeps_the_rest(
    path: Path, tmp_path: Path, manifest, make_rows, assert_holds, flip_value
):
    rows = make_rows(11)
    keys = list(rows)
    shard = flip_value(path)
    assert repair(path) == [shard.name]
    assert not shard.exists()
    assert bad(path) == {}
    features = FeatureSet.open(path)
    assert features.keys == keys[:4] + keys[8:]
    assert features.failures == [FAILURE]
    with FeatureWriter(tmp_path, manifest) as writer:
        assert writer.done == {*keys[:4], *keys[8:], FAILURE.key}
        for key in keys[4:8]:
            writer.append(key, rows[key])
    assert read_commits(path)[-1].file == "shard-00003.arrow"
    assert_holds(FeatureSet.open(path), rows)


def test_repair_of_a_sound_set_changes_nothing(path: Path, folder_bytes):
    before = folder_bytes(path)
    assert repair(path) == []
    assert folder_bytes(path) == before


def test_repair_of_lost_failures_lets_them_be_tried_again(path: Path, tmp_path, manifest):
    (path / "failures.jsonl").unlink()
    assert repair(path) == ["failures.jsonl"]
    assert bad(path) == {}
    with FeatureWriter(tmp_path, manifest) as writer:
        assert FAILURE.key not in writer.done
        assert len(writer.done) == 11


def test_repair_waits_for_the_writer(path: Path, tmp_path, manifest):
    with (
        FeatureWriter(tmp_path, manifest),
        pytest.raises(CacheBusy, match="another process is writing here, so repair cannot"),
    ):
        repair(path)


def test_examples_are_rehashed(tmp_path: Path):
    info = DatasetInfo("d", "table", "text", splits={"train": 2, "test": 1})
    examples = [Example("1", "one text"), Example("2", "another text")]
    write_examples(tmp_path, info, {"train": examples, "test": examples[:1]})
    checks = verify_examples(tmp_path, "d")
    assert [check.file.split("-")[0] for check in checks] == ["test", "train", "failures"]
    assert all(check.ok for check in checks)
    (path,) = (tmp_path / "examples" / "d").glob("train-*.arrow")
    content = path.read_bytes()
    place = content.index(b"another")
    path.write_bytes(content[:place] + b"A" + content[place + 1 :])
    test, train, _ = verify_examples(tmp_path, "d")
    assert test.ok
    assert f"{path}: bytes changed" in train.reason
    with pytest.raises(ShardCorrupt, match=r"train-\w+\.arrow: bytes changed"):
        read_examples(tmp_path, "d", "train")
    path.unlink()
    assert verify_examples(tmp_path, "d")[1].reason.endswith("missing")
