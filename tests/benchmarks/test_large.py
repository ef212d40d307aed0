from promptfuse.benchmarks import ingest, startup
from promptfuse.benchmarks.machine import Machine
from promptfuse.cache.examples import read_dataset, read_examples
from promptfuse.cache.modalities import MODALITIES
from promptfuse.train.data.selection import select
from promptfuse.train.settings import InputChoice

SPLITS = {"train2014": (60, 0), "val2014": (30, 500)}


def test_what_is_measured_is_ingested_once(monkeypatch) -> None:
    monkeypatch.setattr(ingest, "SPLITS", SPLITS)
    monkeypatch.setattr(ingest, "_TABLE_ROWS", 200)
    found = list(ingest.lines(Machine("cpu", None)))
    assert [line.amount for line in found] == [90, 90, 200, 200]


def test_the_large_cache_has_features_of_all_images(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(ingest, "SPLITS", SPLITS)
    cache = startup._vqav2_cache(tmp_path)
    assert dict(read_dataset(cache, "d").splits) == {"train": 60, "val": 30}
    selection = select(cache, "d", "train", InputChoice())
    assert selection.complete().tolist() == list(range(60))
    assert list(selection.features) == [next(iter(MODALITIES))]
    assert read_examples(cache, "d", "val").row(29).answers
