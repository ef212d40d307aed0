from dataclasses import replace

import numpy as np
import pytest
import torch

from promptfuse.cache.examples import read_examples
from promptfuse.cache.keys import BLANK_KEY
from promptfuse.cache.store import feature_sets
from promptfuse.errors import CacheError, WidthMismatch
from promptfuse.train.data import FusionData, open_source
from promptfuse.train.data.reading import read_steps
from promptfuse.train.data.sources import fit_positions
from promptfuse.train.fusion.methods import Fusion
from promptfuse.train.plm.frozen import Segment
from promptfuse.train.segments import mean_over_steps

from .small_cache import key_of, names_of, write_features, write_questions, write_sarcasm
from .small_plms import embedded


def source_of(cache, modality, plm, **changes):
    (features,) = feature_sets(cache, modality)
    return open_source(features, plm, **({"field": None, "width_fix": "none"} | changes))


def steps_of(source, name, plm):
    return read_steps(source, source.features.rows_of([key_of(name)]), plm)


def test_pooled_media_get_position_and_norm_before_the_mean(sarcasm_cache, plm):
    table = read_examples(sarcasm_cache, "jokes", "test")
    source = source_of(sarcasm_cache, "video", plm)
    data = FusionData(table, [source], plm)
    visual, text = data.segments([4, 1])
    for row, index in enumerate([4, 1]):
        frames = source.features.read([key_of(f"test{index}")], "pooler").values
        placed = embedded(plm, torch.from_numpy(frames).float()[None])
        torch.testing.assert_close(visual.vectors[row], placed.mean(dim=1))
    assert visual.present.all()
    assert text.vectors.shape[:2] == text.present.shape


def test_an_image_is_one_vector(questions_cache, plm):
    table = read_examples(questions_cache, "shapes", "val")
    source = source_of(questions_cache, "image", plm, field="cls")
    (visual, _) = FusionData(table, [source], plm).segments([0, 1, 2])
    assert visual.vectors.shape == (3, 1, 16)
    assert torch.equal(visual.vectors[0], visual.vectors[1])  # two questions about one image
    stored = source.features.read([key_of("val1")], "cls").values
    expected = embedded(plm, torch.from_numpy(stored).float()[None])
    torch.testing.assert_close(visual.vectors[2], expected[0])


def test_an_images_sequence_is_a_segment_of_its_tokens(questions_cache, plm):
    table = read_examples(questions_cache, "shapes", "val")
    source = source_of(questions_cache, "image", plm, field="sequence")
    (visual, _) = FusionData(table, [source], plm).segments([0, 3])
    assert visual.vectors.shape == (2, 7, 16)
    assert visual.present.all()
    for row, name in enumerate(["val0", "val1"]):
        stored = source.features.read([key_of(name)], "sequence").values
        expected = embedded(plm, torch.from_numpy(stored).float())
        torch.testing.assert_close(visual.vectors[row], expected[0])


def test_an_image_sequence_is_averaged_for_jointproj(questions_cache, plm):
    table = read_examples(questions_cache, "shapes", "val")
    source = source_of(questions_cache, "image", plm, field="sequence")
    data = FusionData(table, [source], plm, Fusion.of("jointproj"))
    words = embedded(plm, plm.token_vectors()[data.text_ids[3]][None])
    stored = source.features.read([key_of("val1")], "sequence").values
    patches = embedded(plm, torch.from_numpy(stored).float())  # positions and norm, then the mean
    itself, nothing = torch.eye(16), torch.zeros(16, 16)  # [w ; v] → w, then [w ; v] → v
    for weight, expected in (
        (torch.cat([itself, nothing], dim=1), words),
        (torch.cat([nothing, itself], dim=1), patches.mean(dim=1, keepdim=True).expand_as(words)),
    ):
        layer = {"projection.weight": weight[None], "projection.bias": torch.zeros(1, 16)}
        (text,) = data.segments([3], layer)
        torch.testing.assert_close(text.vectors, expected)


def test_blank_feeds_every_example_the_blank_row(sarcasm_cache, plm):
    table = read_examples(sarcasm_cache, "jokes", "test")
    source = source_of(sarcasm_cache, "audio", plm)
    data = FusionData(table, [source], plm, Fusion.of("blackimage"))
    (sound, _) = data.segments([0, 5])
    assert torch.equal(sound.vectors[0], sound.vectors[1])
    blank = read_steps(source, source.features.rows_of([BLANK_KEY]), plm)
    expected = embedded(plm, blank.vectors).mean(dim=1)
    torch.testing.assert_close(sound.vectors[:1, 0], expected)
    assert data.substituted == 0


def test_an_example_without_features_gets_a_blank_and_is_counted(tmp_path, plm):
    write_sarcasm(tmp_path, train=2, test=2)
    write_features(tmp_path, "video", ["train0", "train1", "test0"], failed=("test1",))
    data = FusionData(
        read_examples(tmp_path, "jokes", "test"), [source_of(tmp_path, "video", plm)], plm
    )
    assert data.substituted == 1
    features = data.sources[0].features
    assert data.rows["video"].tolist() == features.find([key_of("test0"), BLANK_KEY]).tolist()


def test_only_steps_beyond_the_positions_are_averaged():
    steps = torch.arange(10.0).view(5, 2)
    assert fit_positions(steps, 3).tolist() == [[1, 2], [5, 6], [8, 9]]
    assert fit_positions(steps, 2).tolist() == [[2, 3], [7, 8]]
    assert torch.equal(fit_positions(steps, 5), steps)
    assert torch.equal(fit_positions(steps, None), steps)


def test_a_clip_longer_than_the_positions_is_pooled_in_windows(tmp_path, plm):
    write_sarcasm(tmp_path, train=2, test=2)
    names = names_of("train", 2) + names_of("test", 2)
    write_features(tmp_path, "audio", names, steps=100)  # the small model has 48 positions
    source = source_of(tmp_path, "audio", plm)
    stored = torch.from_numpy(source.features.read([key_of("test0")], "last_hidden_state").values)
    by_hand = torch.stack([stored[start : start + 3].float().mean(0) for start in range(0, 100, 3)])
    segment = steps_of(source, "test0", plm)
    torch.testing.assert_close(segment.vectors[0], by_hand)
    table = read_examples(tmp_path, "jokes", "test")
    (sound, _) = FusionData(table, [source], plm).segments([0])
    torch.testing.assert_close(sound.vectors[0], embedded(plm, by_hand[None]).mean(dim=1))
    whole = FusionData(table, [source], plm, replace(Fusion.of("promptfuse"), pool="none"))
    torch.testing.assert_close(whole.segments([0])[0].vectors, embedded(plm, by_hand[None]))


def test_the_mean_counts_no_padding():
    vectors = torch.tensor([[[1.0, 2], [3, 4]], [[5, 6], [9, 9]]])
    present = torch.tensor([[True, True], [True, False]])
    assert mean_over_steps(Segment(vectors, present)).tolist() == [[2, 3], [5, 6]]


def test_unknown_field(questions_cache, plm):
    with pytest.raises(CacheError, match="hold pooler, cls, sequence, not 'average'"):
        source_of(questions_cache, "image", plm, field="average")


@pytest.mark.parametrize("width", [12, 20])
def test_width_mismatch_says_both_and_offers_a_fix(tmp_path, plm, width):
    write_questions(tmp_path)
    write_features(tmp_path, "image", names_of("train", 5), width=width)
    with pytest.raises(
        WidthMismatch, match=rf"small gives width {width}.*takes width 16.*orthogonal"
    ):
        source_of(tmp_path, "image", plm)
    source = source_of(tmp_path, "image", plm, width_fix="orthogonal")
    assert steps_of(source, "train0", plm).vectors.shape == (1, 1, 16)
    fixed = source.width
    assert fixed is not None
    narrow = fixed if width > 16 else fixed.T
    torch.testing.assert_close(narrow.T @ narrow, torch.eye(min(width, 16)), atol=1e-5, rtol=0)


def test_padding_appends_zeros(tmp_path, plm):
    write_questions(tmp_path)
    write_features(tmp_path, "image", names_of("train", 5), width=12)
    source = source_of(tmp_path, "image", plm, width_fix="pad")
    stored = source.features.read([key_of("train0")], "pooler").values.astype(np.float32)
    padded = steps_of(source, "train0", plm).vectors[0, 0]
    assert torch.equal(padded[:12], torch.from_numpy(stored[0]))
    assert torch.equal(padded[12:], torch.zeros(4))
    write_features(tmp_path, "video", [], width=20)
    with pytest.raises(WidthMismatch, match="width 20, more than the language model's 16"):
        source_of(tmp_path, "video", plm, width_fix="pad")
