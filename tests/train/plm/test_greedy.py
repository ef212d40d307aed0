"""Answers written token by token, against the transformers library's own `generate`."""

import pytest
import torch
from transformers import GenerationConfig
from transformers.modeling_outputs import BaseModelOutput

from promptfuse.train.fusion.sequence import encode_fused
from promptfuse.train.fusion.visibility import BLIND, FULL
from promptfuse.train.plm.frozen import Segment

from ..small_plms import SMALL, START, text_of, whole

ENDS = {"bart": (3, 7.0), "t5": (13, 1.75)}
"""A seed, and a bias on the end token, that end the answers of random weights at many lengths."""


@pytest.fixture(scope="module", params=list(ENDS))
def plm(request):
    seed, bias = ENDS[request.param]
    own = SMALL[request.param](seed)
    torch.manual_seed(seed)
    head = own.model.lm_head  # tied to the embeddings, random weights repeat their first token
    head.weight = torch.nn.Parameter(torch.randn_like(head.weight), requires_grad=False)
    head.bias = torch.nn.Parameter(torch.zeros(len(head.weight)), requires_grad=False)
    head.bias[own.tokenizer.eos_token_id] = bias
    return own


def fused(plm, visibility, runs=1):
    """Return 12 encoded rows of R runs, some of them padded."""
    random = torch.Generator().manual_seed(4)
    prompts, media = (torch.randn(n, 3, 16, generator=random) * 3 for n in (runs, 12))
    text = text_of(plm, ["what colour red", "how many", "what colour is the square"] * 4)
    return encode_fused(plm, prompts, [Segment.whole(media), text], visibility)


def librarys(plm, states, limit: int) -> list[str]:
    config, lead, memory = plm.model.config, START[plm.family], whole(states)
    ids = plm.model.generate(
        encoder_outputs=BaseModelOutput(memory.vectors),
        attention_mask=memory.present.long(),
        generation_config=GenerationConfig(
            max_new_tokens=limit + len(lead),
            num_beams=1,
            do_sample=False,
            pad_token_id=config.pad_token_id,
            eos_token_id=config.eos_token_id,
            decoder_start_token_id=lead[0],
            forced_bos_token_id=dict(enumerate(lead)).get(1),
            forced_eos_token_id=config.eos_token_id,
        ),
    )
    return [text.strip() for text in plm.tokenizer.batch_decode(ids, skip_special_tokens=True)]


def lengths(plm, states, limit: int) -> list[int]:
    ids = plm.write(states, max_new_tokens=limit)
    return (ids != plm.tokenizer.eos_token_id).sum(dim=1).tolist()


@pytest.mark.parametrize("limit", [1, 2, 9])
@pytest.mark.parametrize("runs", [1, 3])
@pytest.mark.parametrize("visibility", [FULL, BLIND], ids=["full", "blind"])
def test_answers_are_those_of_the_librarys_generate(plm, visibility, runs, limit):
    states = fused(plm, visibility, runs)
    assert plm.generate(states, max_new_tokens=limit) == librarys(plm, states, limit)
    if limit == 9:
        assert len(set(lengths(plm, states, limit))) >= 4


@pytest.mark.parametrize("visibility", [FULL, BLIND], ids=["full", "blind"])
def test_what_has_ended_is_fed_no_more(plm, visibility):
    """Nor is a token that is forced asked for: the lead, and the end at the limit."""
    states, fed = fused(plm, visibility), []
    head = plm.model.lm_head.register_forward_pre_hook(lambda _, given: fed.append(len(given[0])))
    each = lengths(plm, states, 9)
    head.remove()
    assert fed == [sum(length >= step for length in each) for step in range(9)]
    assert fed[0] == 12
    assert 0 < fed[-1] < 12
