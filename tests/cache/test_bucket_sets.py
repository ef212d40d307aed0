"""Feature sets and examples below an S3 server's URL: what holds of folders holds there."""

import shutil

import numpy as np
import pytest

from promptfuse.cache.client import client
from promptfuse.cache.collecting import find_garbage
from promptfuse.cache.compacting import compact
from promptfuse.cache.convert import convert
from promptfuse.cache.example_table import Example
from promptfuse.cache.examples import DatasetInfo, read_datasets, read_examples, write_examples
from promptfuse.cache.merging import merge
from promptfuse.cache.objects import store_at
from promptfuse.cache.opened import open_cache
from promptfuse.cache.places import place_of
from promptfuse.cache.store import FeatureSet, FeatureWriter, feature_sets
from promptfuse.cache.verify import feature_folders, repair, verify, verify_examples

from .s3 import bucket, s3  # noqa: F401


@pytest.fixture
def root(bucket):  # noqa: F811
    client.cache_clear()
    return place_of(bucket) / "cache"


def fill(root, manifest, rows, at_once: int = 3) -> None:
    with FeatureWriter(root, manifest) as writer:
        keys = list(rows)
        for start in range(0, len(keys), at_once):
            part = keys[start : start + at_once]
            for key in writer.claim(part) or ():
                writer.append(key, rows[key])
            writer.commit()


def same(features: FeatureSet, rows) -> bool:
    return all(
        np.array_equal(features.read([key], name).values.reshape(np.shape(row[name])), row[name])
        for key, row in rows.items()
        for name in features.manifest.names
    )


def test_a_set_is_written_read_converted_verified_and_mended(root, manifest, make_rows, tmp_path):
    rows = make_rows(10)
    fill(root, manifest, rows)
    fill(tmp_path / "local", manifest, rows)
    (features,) = feature_sets(root)
    (local,) = feature_sets(tmp_path / "local")
    assert features.commits == local.commits
    shutil.rmtree(tmp_path / "mirror")
    assert same(features, rows)
    assert open_cache(str(root)).feature_sets[0].keys == local.keys
    assert feature_folders(root) == [features.path]
    assert all(check.ok for check in verify(features.path))
    assert convert(features.path, "hdf5") == 4
    assert same(FeatureSet.open(features.path), rows)
    assert same(features, rows)  # which was opened before
    store, (name, *_) = store_at(features.path), FeatureSet.open(features.path).commits
    store.put(str(name.file), b"damaged")
    assert [check.file for check in verify(features.path) if not check.ok] == [name.file]
    assert any(str(name.file) in line for line in repair(features.path))
    fill(root, manifest, rows)
    assert same(FeatureSet.open(features.path), rows)
    assert all(check.ok for check in verify(features.path))


def test_a_set_larger_than_the_mirror_is_read(root, manifest, make_rows, monkeypatch, tmp_path):
    rows = make_rows(12)
    fill(root, manifest, rows, at_once=2)
    (features,) = feature_sets(root)
    largest = max(commit.size_bytes for commit in features.commits)
    monkeypatch.setenv("PROMPTFUSE_MIRROR_GB", str(largest * 1.5 / 1e9))
    shutil.rmtree(tmp_path / "mirror")
    assert same(features, rows)
    assert features.count_steps("pooler") == 12
    held = [path.stat().st_size for path in store_at(features.path).local.glob("shard-*")]
    assert sum(held) <= largest * 1.5


def test_examples_are_written_replaced_and_verified(root):
    for answer in ("one", "two"):
        info = DatasetInfo("d", "table", "text", splits={"train": 2})
        examples = [Example(str(n), "why", answer) for n in range(2)]
        write_examples(root, info, {"train": examples})
        assert read_examples(root, "d", "train").answers == [answer] * 2
        assert [held.name for held in read_datasets(root)] == ["d"]
        assert len(store_at(root / "examples" / "d").list()) == 3
        assert all(check.ok for check in verify_examples(root, "d"))


def test_caches_are_merged_and_compacted(root, manifest, make_rows, tmp_path):
    rows, others = make_rows(8), make_rows(5, seed=1)
    fill(root, manifest, rows)
    fill(tmp_path / "local", manifest, others)
    assert [one.count for one in merge([tmp_path / "local"], root)] == [5]
    (features,) = feature_sets(root)
    assert compact(features.path, shard_bytes=1 << 26)[1] == 1
    assert same(FeatureSet.open(features.path), {**rows, **others})
    assert same(features, {**rows, **others})  # which was opened before
    assert find_garbage(root, beside="asked") == []
    with FeatureWriter(root, manifest) as writer:
        assert writer.done == {*rows, *others}
    assert [one.count for one in merge([root], tmp_path / "local")] == [8]
