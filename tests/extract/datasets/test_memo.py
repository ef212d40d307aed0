import json
import os
import sys
import time
from dataclasses import replace

import pytest

from promptfuse.cache.examples import read_examples
from promptfuse.extract.datasets import Source
from promptfuse.extract.datasets.ingest import ingest, recall
from promptfuse.extract.datasets.media_files import hash_files
from promptfuse.extract.datasets.memo import MEMO_NAME

LONG_AGO = time.time_ns() - 10**12


def write(path, content):
    path.write_bytes(content)
    os.utime(path, ns=(LONG_AGO, LONG_AGO))


@pytest.fixture
def source(tmp_path):
    root = tmp_path / "data"
    root.mkdir()
    for name in "abc":
        write(root / name, name.encode())
    write(root / "copy of a", b"a")
    rows = [
        {"id": 1, "text": "t", "video": "a", "audio": "a"},
        {"id": 2, "text": "t", "video": "a", "start_seconds": 0.5, "end_seconds": 2},
        {"id": 3, "text": "t", "image": "b"},
        {"id": 4, "text": "t", "image": "copy of a", "split": "test"},
        {"id": 5, "text": "t", "image": "none", "split": "test"},
        {"id": 6, "text": "t"},
    ]
    write(root / "t.jsonl", "\n".join(map(json.dumps, rows)).encode())
    return Source("table", root / "t.jsonl", "d")


@pytest.fixture
def cache(tmp_path, source):
    ingest(source.read(), tmp_path / "cache")
    return tmp_path / "cache"


@pytest.fixture
def hashed(monkeypatch):
    """Returns the names of the media that are read from now on."""
    read = []
    module = sys.modules[hash_files.__module__]
    digest = module.file_sha256
    monkeypatch.setattr(module, "file_sha256", lambda path: read.append(path.name) or digest(path))
    return read


def recalled(cache, source):
    return recall(cache, "d", source.origin())


def test_what_did_not_change_is_recalled_without_reading(cache, source, hashed):
    found = recalled(cache, source)
    assert hashed == []
    assert found == ingest(source.read(), cache)
    assert hashed == []
    assert [ref.state for ref in found.media] == [
        ref.state for ref in ingest(source.read(), cache).media
    ]


def test_a_touched_annotation_file_is_known_by_its_bytes(cache, source):
    source.root.write_bytes(source.root.read_bytes())
    assert recalled(cache, source) is not None


def test_a_changed_annotation_file_is_read_again_and_the_media_are_not(cache, source, hashed):
    write(source.root, source.root.read_bytes() + b'\n{"id": 7, "text": "t", "image": "c"}')
    assert recalled(cache, source) is None
    ingest(source.read(), cache)
    assert hashed == ["c"]
    assert read_examples(cache, "d", "train").ids == ["1", "2", "3", "6", "7"]
    assert recalled(cache, source) is not None


def test_other_options_are_another_reading(cache, source):
    assert recalled(cache, replace(source, options={"columns": {"answer": "x"}})) is None
    other = source.root.with_name("u.jsonl")
    other.write_bytes(source.root.read_bytes())
    assert recalled(cache, replace(source, root=other)) is None


@pytest.mark.parametrize("name", ["a", "copy of a"])
def test_a_changed_medium_is_hashed_again(cache, source, hashed, name):
    write(source.root.parent / name, b"longer")
    assert recalled(cache, source) is None
    ingest(source.read(), cache)
    assert hashed == [name]


def test_a_replaced_medium_of_the_same_size_and_time_has_another_inode(cache, source, hashed):
    old = source.root.with_name("a")
    state = old.stat()
    write(source.root.with_name("new"), b"z")
    source.root.with_name("new").replace(old)
    now = old.stat()
    assert (now.st_size, now.st_mtime_ns) == (state.st_size, state.st_mtime_ns)
    assert recalled(cache, source) is None
    ingest(source.read(), cache)
    assert hashed == ["a"]


def test_a_medium_that_was_missing_is_noticed_when_it_comes(cache, source):
    write(source.root.with_name("none"), b"here")
    assert recalled(cache, source) is None
    source.root.with_name("none").unlink()
    assert recalled(cache, source) is not None
    source.root.with_name("b").unlink()
    assert recalled(cache, source) is None


def test_a_medium_that_may_change_unnoticed_is_not_remembered(cache, source, hashed):
    source.root.with_name("b").write_bytes(b"new")
    ingest(source.read(), cache)
    assert recalled(cache, source) is None
    ingest(source.read(), cache)
    assert hashed == ["b", "b"]


def test_a_damaged_memo_says_nothing(cache, source, hashed):
    path = cache / "examples" / "d" / MEMO_NAME
    content = path.read_bytes()
    for place in range(0, len(content), 97):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        assert recalled(cache, source) is None
    for length in (0, 10, 32, len(content) - 1):
        path.write_bytes(content[:length])
        assert recalled(cache, source) is None
    ingest(source.read(), cache)
    assert sorted(hashed) == ["a", "b", "copy of a"]
    assert recalled(cache, source) is not None


def test_damaged_examples_are_written_again(cache, source):
    path = next((cache / "examples" / "d").glob("train-*.arrow"))
    path.write_bytes(path.read_bytes()[:-1])
    assert recalled(cache, source) is None
    path.unlink()
    assert recalled(cache, source) is None
    ingest(source.read(), cache)
    assert recalled(cache, source) is not None


def test_examples_of_another_reading_are_not_taken_for_these(cache, source):
    raw = source.read()
    ingest(replace(raw, origin=None, splits={"train": raw.splits["train"]}), cache)
    assert recalled(cache, source) is None


def test_a_limit_leaves_the_memo_of_the_whole(cache, source):
    ingest(source.read(), cache, limit=1)
    assert recalled(cache, source) is not None
