"""Whatever someone wrote into the cache's JSON, what comes is a result or a named error."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from promptfuse.cache.commits import Failure
from promptfuse.cache.examples import DatasetInfo, Example, write_examples
from promptfuse.cache.fingerprint import fingerprint
from promptfuse.cache.sealed import seal, unseal
from promptfuse.cache.store import FeatureSet, FeatureWriter
from promptfuse.cache.summary import summarise
from promptfuse.cache.verify import verify, verify_examples
from promptfuse.errors import CacheError

GARBAGE = (None, True, -1, 1.5, 10**30, "x", "../x", [], ["x"], {}, {"x": 1}, [{"x": 1}])


def garbled(record: dict[str, object]) -> Iterator[dict[str, object]]:
    """The record without one field, with one more, and with each field's value replaced."""
    yield {**record, "unknown": 1}
    for name in record:
        yield {other: value for other, value in record.items() if other != name}
        for value in GARBAGE:
            yield {**record, name: value}


@pytest.fixture
def features(tmp_path: Path, manifest, make_rows) -> Path:
    rows = make_rows(3)
    with FeatureWriter(tmp_path, manifest) as writer:
        for key, row in rows.items():
            writer.append(key, row)
        writer.fail(Failure(b"f" * 32, "a.mp4", "damaged", "cut short"))
    return writer.path


def read_all(folder: Path, keys: list[bytes]) -> None:
    features = FeatureSet.open(folder)
    features.read(keys, "frames")
    assert all(isinstance(failure, Failure) for failure in features.failures)
    verify(folder)


def named(action: Callable[[], object]) -> bool:
    """Returns whether the action failed with an error that the cache names."""
    try:
        action()
    except CacheError:
        return True
    return False


@pytest.mark.parametrize("sealed", [True, False])
def test_commits(features: Path, make_rows, sealed: bool):
    (path,), keys = (features / "commits").iterdir(), list(make_rows(3))
    record = unseal(path.read_bytes(), path)
    (failure,) = record["failures"]
    outcomes = []
    for changed in (*garbled(record), *({**record, "failures": [f]} for f in garbled(failure))):
        path.write_bytes(seal(changed) if sealed else json.dumps(changed).encode())
        outcomes.append(named(lambda: read_all(features, keys)))
    assert sum(outcomes) > len(outcomes) // 2
    assert sealed or all(outcomes)


def test_manifest(features: Path, make_rows):
    path, keys = features / "manifest.json", list(make_rows(3))
    record = unseal(path.read_bytes(), path)
    for changed in garbled(record):
        path.write_bytes(seal(changed))
        named(lambda: read_all(features, keys))
    for field in garbled(record["fields"][1]):
        changed = {**record, "fields": [record["fields"][0], field, *record["fields"][2:]]}
        covered = ("identity", "modality", "fields")
        changed["fingerprint"] = fingerprint({name: changed[name] for name in covered})
        path.write_bytes(seal(changed))
        if field != record["fields"][1]:
            assert named(lambda: read_all(features, keys)), field


def test_dataset(tmp_path: Path):
    info = DatasetInfo("d", "t", "label", ("a", "b"), "a", ("image",), {"train": 1})
    write_examples(tmp_path, info, {"train": [Example("1", "x", media={"image": bytes(32)})]})
    path = tmp_path / "examples" / "d" / "dataset.json"
    record = json.loads(path.read_text())
    outcomes = []
    for changed in garbled(record):
        path.write_text(json.dumps(changed))
        outcomes.append(named(lambda: (summarise(tmp_path), verify_examples(tmp_path, "d"))))
    for changed in garbled(record["files"]["train"]):
        path.write_text(json.dumps({**record, "files": {"train": changed}}))
        outcomes.append(named(lambda: (summarise(tmp_path), verify_examples(tmp_path, "d"))))
    assert sum(outcomes) > len(outcomes) // 2
