"""Method × pooled or sequence × start or end, as the paper and the authors' code have them.

What is expected is computed an example at a time from the transformers library's own modules: no
padding, no batch, no mask but the blind one. Source: sections 3 and 4.3 of the paper; the order of
`jointproj` is the released code's.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers.modeling_outputs import BaseModelOutput

from promptfuse.cache.examples import read_examples
from promptfuse.cache.store import feature_sets
from promptfuse.train.data import FusionData, open_source
from promptfuse.train.fusion.methods import Fusion
from promptfuse.train.fusion.parameters import initial_parameters
from promptfuse.train.loop import fuse

from ..small_cache import key_of

LABELS = ["True", "False"]
PROMPTED = [
    (method, pool, position)
    for method in ("promptfuse", "blindprompt")
    for pool in ("after-norm", "none")
    for position in ("start", "end")
]


def placed(plm, vectors: torch.Tensor) -> torch.Tensor:
    """[L, H] with positions from 0 and the norm."""
    encoder = plm.model.get_encoder()
    positions = encoder.embed_positions(torch.zeros(1, len(vectors), dtype=torch.long))
    return encoder.layernorm_embedding(vectors + positions)[0]


def words_of(plm, text: str) -> torch.Tensor:
    ids = torch.tensor(plm.tokenizer(text).input_ids)
    return placed(plm, plm.model.get_encoder().embed_tokens(ids))


def steps_of(source, index: int, split: str = "train") -> torch.Tensor:
    """[L, H]: what the cache holds of an example's medium."""
    packed = source.features.read([key_of(f"{split}{index}")], source.field)
    return torch.from_numpy(np.array(packed.values)).float()


def logits_over(plm, vectors: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    """The two label words' logits after `</s><s>`, for an embedded sequence [S, H]."""
    hidden = vectors[None]
    for layer in plm.model.get_encoder().layers:
        hidden = layer(hidden, mask)
    logits = plm.model(
        encoder_outputs=BaseModelOutput(hidden), decoder_input_ids=torch.tensor([[2, 0]])
    ).logits
    return logits[0, -1, plm.tokenizer.convert_tokens_to_ids(LABELS)]


def blind_mask(length: int, prompt: range) -> torch.Tensor:
    """Queries of the prompt see no other key; [1, 1, S, S], additive."""
    mask = torch.zeros(length, length)
    inside = torch.tensor([place in prompt for place in range(length)])
    mask[inside[:, None] & ~inside[None]] = torch.finfo(torch.float32).min
    return mask[None, None]


def ours(plm, fusion, table, sources, parameters) -> torch.Tensor:
    data = FusionData(table, sources, plm, fusion)
    encoded = fuse(plm, data, parameters, list(range(len(data))))
    return plm.label_logits(encoded, plm.label_ids(LABELS))


def parameters_of(plm, fusion, modalities) -> dict[str, torch.Tensor]:
    return initial_parameters(
        fusion, plm, [1], prompt_length=3 if fusion.method.prompt else 0, modalities=modalities,
        prompt_init="random",
    )  # fmt: skip


def opened(cache, modality, plm, field=None):
    return open_source(feature_sets(cache, modality)[0], plm, field=field, width_fix="none")


@pytest.fixture
def clips(sarcasm_cache, plm):
    sources = [opened(sarcasm_cache, modality, plm) for modality in ("video", "audio")]
    return read_examples(sarcasm_cache, "jokes", "train"), sources


@pytest.mark.parametrize(("method", "pool", "position"), PROMPTED)
def test_prompts(plm, clips, method, pool, position):
    table, sources = clips
    fusion = replace(Fusion.of(method), pool=pool, prompt_position=position)
    parameters = parameters_of(plm, fusion, ["video", "audio"])
    found = ours(plm, fusion, table, sources, parameters)
    prompt = placed(plm, parameters["prompt"][0])
    for index, text in enumerate(table.texts):
        media = [placed(plm, steps_of(source, index)) for source in sources]
        if pool == "after-norm":
            media = [steps.mean(dim=0, keepdim=True) for steps in media]
        inputs = torch.cat([*media, words_of(plm, text)])
        ahead = 0 if position == "start" else len(inputs)
        sequence = torch.cat([inputs[:ahead], prompt, inputs[ahead:]])
        mask = blind_mask(len(sequence), range(ahead, ahead + len(prompt)))
        expected = logits_over(plm, sequence, mask if method == "blindprompt" else None)
        torch.testing.assert_close(found[index], expected, atol=1e-5, rtol=1e-5)


def joined_logits(plm, text: str, medium: torch.Tensor, parameters) -> torch.Tensor:
    words = words_of(plm, text)
    both = torch.cat([words, medium.expand_as(words)], dim=1)
    weight, bias = parameters["projection.weight"][0], parameters["projection.bias"][0]
    return logits_over(plm, torch.nn.functional.linear(both, weight, bias))


def test_jointproj_of_an_image(plm, questions_cache):
    """Token i at position i and the image at position 0, each normed, then [w_i ; v] projected."""
    table = read_examples(questions_cache, "shapes", "val")
    source = opened(questions_cache, "image", plm)
    fusion = Fusion.of("jointproj")
    parameters = parameters_of(plm, fusion, ["image"])
    found = ours(plm, fusion, table, [source], parameters)
    for index, text in enumerate(table.texts):
        medium = placed(plm, steps_of(source, index // 2, "val"))[0]
        expected = joined_logits(plm, text, medium, parameters)
        torch.testing.assert_close(found[index], expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("pool", ["after-norm", "before-norm", "none"])
def test_jointproj_of_clips_takes_what_the_pooling_rule_gives(plm, clips, pool):
    table, sources = clips
    fusion = replace(Fusion.of("jointproj"), pool=pool)
    parameters = parameters_of(plm, fusion, ["video", "audio"])
    found = ours(plm, fusion, table, sources, parameters)
    for index, text in enumerate(table.texts):
        media = []
        for source in sources:
            steps = steps_of(source, index)
            steps = steps.mean(dim=0, keepdim=True) if pool == "before-norm" else steps
            media.append(placed(plm, steps).mean(dim=0))
        expected = joined_logits(plm, text, (media[0] + media[1]) / 2, parameters)
        torch.testing.assert_close(found[index], expected, atol=1e-5, rtol=1e-5)
