from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader

from promptfuse.cache.opened import open_cache
from promptfuse.errors import CacheError
from promptfuse.train.joined import FeatureDataset

from .small_cache import WIDTH, key_of, write_features, write_sarcasm

NAMES = [f"train{index}" for index in range(12)]


@pytest.fixture
def cache_root(tmp_path: Path) -> Path:
    write_sarcasm(tmp_path)
    write_features(tmp_path, "video", NAMES[:-1], failed=(NAMES[-1],))
    write_features(tmp_path, "audio", NAMES)
    return tmp_path


def test_an_item_is_an_example_with_its_features(cache_root: Path):
    cache = open_cache(cache_root)
    joined = FeatureDataset(cache, "jokes", "train")
    assert len(joined) == 11  # one clip could not be decoded
    item = joined[3]
    assert item["id"] == "train3"
    stored = cache.features("audio").read([key_of("train3")], "last_hidden_state")[0]
    assert item["audio"].dtype == torch.float32
    assert torch.equal(item["audio"], torch.from_numpy(stored.astype("float32")))
    assert item["video"].shape[1:] == (WIDTH,)
    with pytest.raises(IndexError, match="11 of 11"):
        joined[11]


def test_batches_are_padded_and_say_how_long_rows_are(cache_root: Path):
    joined = FeatureDataset(open_cache(cache_root), "jokes", "train", modalities=["audio"])
    assert len(joined) == 12
    (batch,) = DataLoader(joined, batch_size=12, collate_fn=joined.collate)
    steps = batch["audio_steps"]
    assert batch["audio"].shape == (12, int(steps.max()), WIDTH)
    assert "video" not in batch
    for row, (item, length) in enumerate(zip(list(joined), steps, strict=True)):
        assert torch.equal(batch["audio"][row, :length], item["audio"])
        assert not batch["audio"][row, length:].any()


def test_worker_processes_read_the_same(cache_root: Path):
    joined = FeatureDataset(open_cache(cache_root), "jokes", "train", modalities=["video"])
    loader = DataLoader(joined, batch_size=None, num_workers=1)
    assert [item["id"] for item in loader] == joined.examples.ids


def test_what_is_missing_is_named(cache_root: Path):
    cache = open_cache(cache_root)
    with pytest.raises(CacheError, match=r"no dataset 'joke'.*did you mean 'jokes'"):
        FeatureDataset(cache, "joke", "train")
    with pytest.raises(CacheError, match="pfcli extract --modality video"):
        FeatureDataset(cache, "jokes", "test")
