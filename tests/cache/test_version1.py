"""A cache that the first release wrote reads as it lies, and its next writer carries it over."""

import hashlib
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from promptfuse.cache.atomic import exclusive
from promptfuse.cache.commits import Failure
from promptfuse.cache.convert import convert
from promptfuse.cache.examples import read_dataset, read_examples, read_failures
from promptfuse.cache.fingerprint import fingerprint
from promptfuse.cache.keys import BLANK_KEY
from promptfuse.cache.manifest import Manifest, read_manifest, read_versioned
from promptfuse.cache.opened import open_cache
from promptfuse.cache.store import FeatureSet, FeatureWriter, feature_sets
from promptfuse.cache.verify import repair, verify
from promptfuse.cache.version1 import migrate
from promptfuse.errors import CacheBusy, CacheError, ShardCorrupt

WRITTEN = Path(__file__).parent / "v1"
FORMER = {"image": "0e2a50a92ee7ef6f", "audio": "eeca43dc377748c0"}
FAILURE = Failure(hashlib.sha256(b"2").digest(), "2.mp4", "damaged", "cut short")


def key_of(number: int) -> bytes:
    return hashlib.sha256(b"%d" % number).digest()


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    shutil.copytree(WRITTEN, tmp_path / "cache")
    return tmp_path / "cache"


def former(cache: Path, modality: str = "image") -> Path:
    return cache / "features" / modality / FORMER[modality]


def check(features: FeatureSet, but: tuple[int, ...] = ()) -> None:
    """Every row is what was written: all of a row's values are its number."""
    rows = {BLANK_KEY: 1, **{key_of(n): n for n in range(6) if n != 2 and n not in but}}
    assert set(features.keys) == set(rows)
    (spec,) = features.manifest.fields
    packed = features.read(list(rows), spec.name)
    for place, number in enumerate(rows.values()):
        shape = ((number % 3) if spec.ragged else 1, *spec.shape)
        np.testing.assert_array_equal(packed[place], np.full(shape, number, np.float16))
    assert features.failures == [FAILURE]


def tree(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


def test_it_reads_as_it_lies(cache: Path):
    before = tree(cache)
    sets = {features.modality: features for features in feature_sets(cache)}
    assert sets.keys() == FORMER.keys()
    assert [sets[name].formats for name in ("image", "audio")] == [("arrow",), ("hdf5",)]
    for modality, features in sets.items():
        check(features)
        assert features.manifest.is_called(FORMER[modality][:5])
        assert features.fingerprint != FORMER[modality]
        assert open_cache(cache).features(modality, fingerprint=FORMER[modality][:6]) is not None
        assert all(file.ok for file in verify(features.path))
    assert read_dataset(cache, "talk").splits == {"train": 6}
    assert read_examples(cache, "talk", "train").keys("image") == [key_of(n) for n in range(6)]
    assert [failure.path for failure in read_failures(cache, "talk")] == ["gone.png"]
    changed = {name for name, content in tree(cache).items() if before.get(name) != content}
    assert {Path(name).name for name in changed} <= {".checked.json"}


@pytest.mark.parametrize("modality", FORMER)
def test_the_next_writer_carries_it_over(cache: Path, modality: str):
    early = FeatureSet.open(former(cache, modality))
    old = read_manifest(former(cache, modality))
    copy = replace(old, identity={**old.identity, "id": "a copy"}, provenance={})
    with FeatureWriter(cache, copy) as writer:
        assert writer.done == {BLANK_KEY, *(key_of(n) for n in range(6))}
        assert writer.failures == {FAILURE.key: FAILURE}
    (features,) = feature_sets(cache, modality)
    check(features)
    assert features.path == writer.path
    assert read_versioned(writer.path)[1] == 2
    assert features.manifest.fingerprints == [features.fingerprint, FORMER[modality]]
    assert features.manifest.identity == old.identity
    assert all(file.ok for file in verify(features.path))
    assert [path.name for path in writer.path.parent.iterdir()] == [writer.path.name]
    check(early)


def test_sets_of_copies_of_one_encoder_become_one(cache: Path):
    content = json.loads((former(cache) / "manifest.json").read_text())
    other = former(cache).with_name("other")
    shutil.copytree(former(cache), other)
    content["identity"]["id"] = "a copy"
    del content["fingerprint"]
    covered = {n: content[n] for n in ("modality", "identity", "fields", "schema_version")}
    content["fingerprint"] = fingerprint(covered)
    (other / "manifest.json").write_text(json.dumps(content))
    other.rename(other.with_name(content["fingerprint"]))
    manifest = read_manifest(former(cache))
    with FeatureWriter(cache, manifest):
        pass
    (features,) = feature_sets(cache, "image")
    check(features)
    assert set(features.manifest.fingerprints[1:]) == {FORMER["image"], content["fingerprint"]}


@pytest.mark.parametrize("step", range(1, 60))
def test_an_interrupted_change_goes_on(cache: Path, monkeypatch, step: int):
    left, real = step, {name: getattr(os, name) for name in ("replace", "link", "unlink", "rename")}

    def count(name):
        def call(*args, **kwargs):
            nonlocal left
            left -= 1
            if left == 0:
                raise KeyboardInterrupt
            return real[name](*args, **kwargs)

        return call

    manifest = read_manifest(former(cache))
    with monkeypatch.context() as patch:
        for name in real:
            patch.setattr(os, name, count(name))
        try:
            with FeatureWriter(cache, manifest):
                pass
        except KeyboardInterrupt:
            pass
    for features in feature_sets(cache, "image"):
        check(features)
    with FeatureWriter(cache, manifest) as writer:
        assert len(writer.done) == 7
    (features,) = feature_sets(cache, "image")
    check(features)
    assert [path.name for path in writer.path.parent.iterdir()] == [writer.path.name]
    assert not list((writer.path / "claims").iterdir())


def test_damage_is_found_and_repaired(cache: Path):
    path = former(cache)
    shard = path / "shard-00001.arrow"
    content = shard.read_bytes()
    shard.write_bytes(content[:-1])
    with pytest.raises(ShardCorrupt, match=r"shard-00001\.arrow: size_bytes 954 was committed"):
        FeatureSet.open(path)
    assert {file.file for file in verify(path) if not file.ok} == {"commits.jsonl", shard.name}
    with pytest.raises(CacheError, match="shard-00001"):
        migrate(path)
    assert repair(path) == ["gave up shard-00001.arrow"]
    (features,) = feature_sets(cache, "image")
    check(features, but=(4, 5))


def test_a_garbled_log_is_made_good_from_the_shards(cache: Path):
    log = former(cache) / "commits.jsonl"
    first, second = log.read_text().splitlines()
    log.write_text(f"garbage\n{second}\n")
    assert [f.file for f in verify(former(cache)) if not f.ok] == ["commits.jsonl"]
    assert repair(former(cache)) == []
    (features,) = feature_sets(cache, "image")
    check(features)
    assert len(first) > 100


def test_both_formats_are_converted(cache: Path):
    assert convert(former(cache), "hdf5") == 2
    (features,) = feature_sets(cache, "image")
    assert features.formats == ("hdf5",)
    check(features)


def test_an_older_release_at_work_is_left_alone(cache: Path):
    with (
        exclusive(former(cache), doing="extraction"),
        pytest.raises(CacheBusy, match="the change to version 2 cannot"),
    ):
        migrate(former(cache))


def test_a_prompt_of_version_1_names_the_same_features(cache: Path):
    content = json.loads((former(cache) / "manifest.json").read_text())
    trained = Manifest.from_json(content, "a prompt")
    assert trained.fingerprints == [trained.fingerprint, FORMER["image"]]
    migrate(former(cache))
    (features,) = feature_sets(cache, "image")
    assert features.fingerprint == trained.fingerprint
    assert features.manifest.first_fingerprint == trained.first_fingerprint == FORMER["image"]
    with pytest.raises(CacheError, match="says fingerprint"):
        Manifest.from_json({**content, "modality": "video"}, "a prompt")
