"""Media reach the language model as a plain reading of the cache gives them, by every road."""

import threading
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn.utils.rnn import pad_sequence

from promptfuse.cache.examples import read_examples
from promptfuse.cache.store import FeatureSet, feature_sets
from promptfuse.errors import ShardCorrupt
from promptfuse.train.data import FusionData, kept, open_source
from promptfuse.train.data.reading import grouped, in_advance, load
from promptfuse.train.data.sources import Source, fit_positions
from promptfuse.train.fusion.methods import Fusion

from ..small_cache import WIDTH, names_of, write_features, write_questions, write_sarcasm

METHODS = [
    Fusion.of("promptfuse"),
    replace(Fusion.of("promptfuse"), pool="none"),
    replace(Fusion.of("promptfuse"), pool="before-norm"),
    replace(Fusion.of("promptfuse"), train_norms=True),
    Fusion.of("blackimage"),
]
ORDER = [np.array(batch) for batch in ([3, 0, 3], [7], [5, 1, 2], [4, 4, 11], [6, 0, 1, 2])]


def model(dtype=torch.float32, limit=None):
    """Stand in for a language model, of which reading asks this alone."""
    where = torch.device("cpu")
    return SimpleNamespace(device=where, dtype=dtype, max_positions=limit, hidden_size=WIDTH)


@pytest.fixture(params=["arrow", "hdf5"])
def clips(request, tmp_path):
    """Twelve utterances, their pictures of one to five steps, their sound of 100."""
    write_sarcasm(tmp_path)
    for modality, steps in (("video", None), ("audio", 100)):
        names = names_of("train", 12)
        write_features(tmp_path, modality, names, steps=steps, file_format=request.param)
    return tmp_path


def source_of(cache, modality, plm, field=None):
    (features,) = feature_sets(cache, modality)
    return open_source(features, plm, field=field, width_fix="none")


def plain(source: Source, rows, plm):
    """Return the rows, each read for itself as it lies in its shard, and which steps are there."""
    media = []
    for row in rows:
        (column,) = source.features.take(np.array([row]), [source.field]).columns.values()
        steps = torch.from_numpy(column.values).to(plm.dtype).reshape(-1, WIDTH)
        media.append(fit_positions(steps, plm.max_positions))
    there = [torch.ones(len(steps), dtype=torch.bool) for steps in media]
    return pad_sequence(media, batch_first=True), pad_sequence(there, batch_first=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("limit", [None, 48, 3])
@pytest.mark.parametrize("modality", ["video", "audio"])
def test_ragged_rows_are_bit_for_bit_those_of_the_cache(clips, modality, limit, dtype):
    plm = model(dtype, limit)
    source = source_of(clips, modality, plm)
    for rows, loaded in zip(ORDER, load(source, plm, ORDER), strict=True):
        found = loaded()
        vectors, present = plain(source, rows, plm)
        assert torch.equal(found.vectors, vectors)
        assert torch.equal(found.present, present)


@pytest.mark.parametrize("limit", [None, 48, 3])
@pytest.mark.parametrize("field", ["pooler", "sequence"])
def test_rows_of_one_length_are_bit_for_bit_those_of_the_cache(tmp_path, field, limit):
    write_questions(tmp_path)
    write_features(tmp_path, "image", names_of("train", 11))
    plm = model(limit=limit)
    source = source_of(tmp_path, "image", plm, field)
    for rows, loaded in zip(ORDER, load(source, plm, ORDER), strict=True):
        found = loaded()
        vectors, present = plain(source, rows, plm)
        assert torch.equal(found.vectors, vectors)
        assert torch.equal(found.present, present)


@pytest.mark.parametrize("fusion", METHODS, ids=str)
def test_what_is_streamed_is_what_is_kept(clips, plm, fusion, monkeypatch):
    table = read_examples(clips, "jokes", "train")
    sources = [source_of(clips, modality, plm) for modality in ("video", "audio")]
    norms = {
        f"norm.{name}.{part}": torch.full((1, WIDTH), 2.0)
        for name in ("video", "audio", "prompt")
        for part in ("weight", "bias")
        if fusion.train_norms
    }
    whole = FusionData(table, sources, plm, fusion)
    monkeypatch.setattr(kept, "_KEPT_BYTES", 0)
    streamed = FusionData(table, sources, plm, fusion)
    assert whole.told.startswith("video: ")
    assert "kept on cpu" in whole.told
    if fusion.method.media == "encoder":
        assert streamed.told == "video, audio: read ahead from the cache"
    for indices in streamed.ahead(iter(ORDER)):
        for one, other in zip(
            whole.segments(indices, norms), streamed.segments(indices, norms), strict=True
        ):
            assert torch.equal(one.present, other.present)
            assert torch.equal(one.vectors[one.present], other.vectors[other.present])


def test_a_batch_is_read_once_and_before_it_is_used(clips, plm, monkeypatch):
    monkeypatch.setattr(kept, "_KEPT_BYTES", 0)
    table = read_examples(clips, "jokes", "train")
    data = FusionData(table, [source_of(clips, "video", plm)], plm)
    read: list[int] = []
    prefetch = FeatureSet.prefetch

    def noted(features, rows, field):
        read.extend(rows.tolist())
        prefetch(features, rows, field)

    monkeypatch.setattr(FeatureSet, "prefetch", noted)
    expected = [row for indices in ORDER for row in data.rows["video"][indices].tolist()]
    used = 0
    for number, indices in enumerate(data.ahead(ORDER)):
        assert indices is ORDER[number]
        used += len(indices)
        assert read[:used] == expected[:used]
        data.segments(indices)
    assert read == expected
    data.segments(ORDER[1])  # out of turn: read as it is used
    assert read == expected


def test_a_damaged_shard_ends_the_reading(clips, plm, monkeypatch):
    monkeypatch.setattr(kept, "_KEPT_BYTES", 0)
    table = read_examples(clips, "jokes", "train")
    data = FusionData(table, [source_of(clips, "audio", plm)], plm)
    (shard,) = data.sources[0].features.path.glob("shard-*")
    content = shard.read_bytes()
    shard.write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
    with pytest.raises(ShardCorrupt, match=f"{shard.name}: bytes changed"):
        list(data.ahead(ORDER))


def test_groups_begin_with_one_batch_and_grow():
    sizes = [[len(batch) for batch in group] for group in grouped((range(3) for _ in range(9)), 12)]
    assert sizes == [[3], [3] * 2, [3] * 4, [3] * 2]
    assert list(grouped([], 5)) == []


def test_one_thing_is_made_while_another_is_used():
    made: list[int] = []

    def make():
        for number in range(4):
            made.append(number)
            yield [number]

    used = in_advance(make())
    assert next(used) == [0]
    assert [thing[0] for thing in used] == [1, 2, 3]
    assert made == [0, 1, 2, 3]


def test_what_is_begun_and_left_ends():
    before = threading.active_count()
    waiting = in_advance([number] for number in range(9))
    assert next(waiting) == [0]
    waiting.close()
    assert threading.active_count() == before
