"""An example's answer is its own: it does not depend on the others in its batch."""

from dataclasses import replace

import pytest
import torch

from promptfuse.cache.examples import read_examples
from promptfuse.cache.store import feature_sets
from promptfuse.train.data import FusionData, open_source
from promptfuse.train.fusion.methods import Fusion
from promptfuse.train.fusion.parameters import initial_parameters
from promptfuse.train.fusion.sequence import encode_fused
from promptfuse.train.fusion.visibility import BLIND, FULL
from promptfuse.train.loop import fuse
from promptfuse.train.plm.frozen import Segment

from ..small_plms import SMALL

LABELS = ("True", "False")
BATCH = [0, 1, 2, 3, 4, 5, 6, 7]  # clips of one to five steps
TEXTS = ["nice day", "what colour is the square", "how many square red"]
PLMS = {family: made() for family, made in SMALL.items()}


def data_of(cache, plm, fusion) -> FusionData:
    sources = [
        open_source(feature_sets(cache, modality)[0], plm, field=None, width_fix="none")
        for modality in ("video", "audio")
    ]
    data = FusionData(read_examples(cache, "jokes", "train"), sources, plm, fusion)
    data.text_ids = plm.tokenise([TEXTS[index % 3] for index in range(len(data))])
    return data


def logits_of(plm, data, parameters, indices) -> torch.Tensor:
    fused = fuse(plm, data, parameters, indices)
    return plm.label_logits(fused, plm.label_ids(LABELS))


def assert_alone_as_in_a_batch(cache, plm, fusion) -> None:
    data = data_of(cache, plm, fusion)
    parameters = initial_parameters(
        fusion,
        plm,
        [3],
        prompt_length=4 if fusion.method.prompt else 0,
        modalities=("video", "audio"),
        prompt_init="random",
    )
    with torch.no_grad():
        together = logits_of(plm, data, parameters, BATCH)
        alone = torch.cat([logits_of(plm, data, parameters, [index]) for index in BATCH])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("family", list(SMALL))
@pytest.mark.parametrize("visibility", ["full", "blind", "reverse"])
@pytest.mark.parametrize("pool", ["after-norm", "none"])
@pytest.mark.parametrize("position", ["start", "middle", "end"])
def test_alone_as_in_a_batch_with_a_prompt(sarcasm_cache, family, visibility, pool, position):
    fusion = replace(
        Fusion.of("promptfuse"), visibility=visibility, pool=pool, prompt_position=position
    )
    assert_alone_as_in_a_batch(sarcasm_cache, PLMS[family], fusion)


@pytest.mark.parametrize("family", list(SMALL))
@pytest.mark.parametrize("method", ["noprompt", "linear", "jointproj"])
def test_alone_as_in_a_batch_without_one(sarcasm_cache, family, method):
    pool = "after-norm" if method == "jointproj" else "none"
    fusion = replace(Fusion.of(method), pool=pool)
    assert_alone_as_in_a_batch(sarcasm_cache, PLMS[family], fusion)


@pytest.mark.parametrize("visibility", [FULL, BLIND], ids=["full", "blind"])
@pytest.mark.parametrize("position", ["start", "middle", "end"])
def test_the_answers_place_moves_with_its_vector(visibility, position):
    t5 = PLMS["t5"]
    random = torch.Generator().manual_seed(4)
    medium = torch.randn(2, 5, 16, generator=random)
    present = torch.tensor([[True] * 5, [True, True, False, False, False]])
    text = torch.randn(2, 3, 16, generator=random)
    at = torch.tensor([1, 2])
    segments = [Segment(medium, present), replace(Segment.whole(text), answer_at=at)]
    prompt = torch.randn(1, 4, 16, generator=random)
    fused = encode_fused(t5, prompt, segments, visibility, position=position)
    shorter = [
        Segment.whole(medium[1:, :2]),
        replace(Segment.whole(text[1:]), answer_at=at[1:]),
    ]
    alone = encode_fused(t5, prompt, shorter, visibility, position=position)
    rows = torch.arange(2)
    there, expected = fused.vectors[rows, fused.answer_at][1], alone.vectors[0, alone.answer_at[0]]
    torch.testing.assert_close(there, expected, atol=1e-5, rtol=1e-5)
