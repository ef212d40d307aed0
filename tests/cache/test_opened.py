from pathlib import Path

import numpy as np
import pytest

from promptfuse.cache.examples import DatasetInfo, Example, write_examples
from promptfuse.cache.manifest import FieldSpec, Manifest
from promptfuse.cache.opened import open_cache
from promptfuse.cache.store import FeatureWriter
from promptfuse.errors import CacheError, UnknownName

WAVES = {b"a" * 32: [[1, 2], [3, 4], [5, 6]], b"b" * 32: [[7, 8]]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_sounds(tmp_path, "one")
    heard = {"x": b"b" * 32, "y": None, "z": b"a" * 32}
    examples = [
        Example(id=id_, text=f"{id_}?", media={} if key is None else {"audio": key})
        for id_, key in heard.items()
    ]
    info = DatasetInfo("talk", "table", "text", modalities=("audio",), splits={"train": 3})
    write_examples(tmp_path, info, {"train": examples})
    return tmp_path


def write_sounds(folder: Path, encoder: str) -> str:
    fields = (FieldSpec("last_hidden_state", "float16", (2,), ragged=True),)
    manifest = Manifest("audio", {"id": encoder}, fields)
    with FeatureWriter(folder, manifest) as writer:
        for key, row in WAVES.items():
            writer.append(key, {"last_hidden_state": np.array(row, np.float16)})
    return manifest.fingerprint


def test_it_says_what_it_holds_and_reads_rows_in_the_examples_order(folder: Path):
    cache = open_cache(str(folder))
    assert list(cache.datasets) == ["talk"]
    assert [features.modality for features in cache.feature_sets] == ["audio"]
    examples = cache.examples("talk", "train")
    packed = cache.read(examples, "audio")
    assert packed.values.dtype == np.float16
    assert [row.tolist() for row in map(packed.__getitem__, range(3))] == [
        WAVES[b"b" * 32],
        [],
        WAVES[b"a" * 32],
    ]
    last = cache.read(examples.take([2]), "audio", field="last_hidden_state")
    assert last[0].tolist() == WAVES[b"a" * 32]


def test_of_several_sets_one_is_named(folder: Path):
    other = write_sounds(folder, "other")
    cache = open_cache(folder)
    with pytest.raises(CacheError, match=rf"2 sets of audio features; of .*{other}"):
        cache.features("audio")
    assert cache.features("audio", fingerprint=other[:6]).fingerprint == other
    with pytest.raises(CacheError, match="0 sets of audio features 0ff1ce"):
        cache.features("audio", fingerprint="0ff1ce")


def test_what_is_not_there_is_named(folder: Path):
    with pytest.raises(CacheError, match="nowhere: no such folder"):
        open_cache(folder / "nowhere")
    cache = open_cache(folder)
    with pytest.raises(UnknownName, match=r"unknown dataset 'walk'.*talk"):
        cache.examples("walk", "train")
    with pytest.raises(CacheError, match="no split 'test'"):
        cache.examples("talk", "test")
    with pytest.raises(UnknownName, match="unknown modality 'touch'"):
        cache.features("touch")
    with pytest.raises(CacheError, match="hold last_hidden_state, not 'pooler'"):
        cache.read(cache.examples("talk", "train"), "audio", field="pooler")
