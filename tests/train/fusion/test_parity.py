"""The library against an independent reading of the paper's equations, to 1e-5."""

import math

import pytest
import torch

from promptfuse.train.fusion.sequence import encode_fused
from promptfuse.train.fusion.visibility import BLIND, FULL
from promptfuse.train.plm.frozen import Segment

from .. import paper_equations as paper
from ..small_bart import small_bart
from ..small_plms import embedded, text_of, whole

SHAPE = {"layers": 2, "heads": 4}
SCALE = math.sqrt(16)  # scale_embedding
TEXTS = ["what colour is the square", "how many", "is the day nice yes"]
ANSWERS = ["red", "two", "blue green"]


@pytest.fixture(scope="module")
def plm():
    return small_bart()


def inputs(plm, *, steps: int) -> tuple[list[Segment], torch.Tensor, list[list[int]]]:
    media = torch.randn(len(TEXTS), steps, 16, generator=torch.Generator().manual_seed(1))
    ids = plm.tokenise(TEXTS)
    segments = [
        Segment.whole(embedded(plm, media)),
        text_of(plm, TEXTS),
    ]
    return segments, media, ids


def weights_of(plm) -> paper.Weights:
    return plm.model.state_dict() | {"model.shared.weight": plm.model.model.shared.weight}


def prompts(runs: int) -> torch.Tensor:
    return torch.randn(runs, 5, 16, generator=torch.Generator().manual_seed(2)).requires_grad_()


def plain_memory(plm, prompt, medium, ids, *, blind: bool) -> torch.Tensor:
    weights = weights_of(plm)
    return paper.fused_memory(weights, prompt, [medium], ids, blind=blind, scale=SCALE, **SHAPE)


@pytest.mark.parametrize("steps", [1, 7], ids=["pooled", "sequence"])
@pytest.mark.parametrize("visibility", [FULL, BLIND], ids=["full", "blind"])
def test_encoder_outputs_and_prompt_gradients(plm, visibility, steps):
    segments, media, ids = inputs(plm, steps=steps)
    ours, plain = prompts(1), prompts(1)
    fused = whole(encode_fused(plm, embedded(plm, ours), segments, visibility))
    weighting = torch.randn(40, 16, generator=torch.Generator().manual_seed(3))
    total, expected_total = torch.zeros(()), torch.zeros(())
    for row in range(len(TEXTS)):
        expected = plain_memory(plm, plain[0], media[row], ids[row], blind=visibility == BLIND)
        hidden = fused.vectors[row][fused.present[row]]
        torch.testing.assert_close(hidden, expected, atol=1e-5, rtol=1e-5)
        total = total + (hidden * weighting[: len(hidden)]).sum()
        expected_total = expected_total + (expected * weighting[: len(hidden)]).sum()
    total.backward()
    expected_total.backward()
    torch.testing.assert_close(ours.grad, plain.grad, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("visibility", [FULL, BLIND], ids=["full", "blind"])
def test_answer_loss_and_gradient(plm, visibility):
    segments, media, ids = inputs(plm, steps=1)
    ours, plain = prompts(1), prompts(1)
    fused = encode_fused(plm, embedded(plm, ours), segments, visibility)
    answers = plm.tokenise(ANSWERS)
    sums, counts = plm.answer_loss(fused, answers)
    expected = torch.zeros(())
    for row, answer in enumerate(answers):
        memory = plain_memory(plm, plain[0], media[row], ids[row], blind=visibility == BLIND)
        decoder_ids = [2, *answer[:-1]]  # </s> <s> a …
        logits = paper.decoder_logits(weights_of(plm), decoder_ids, memory, scale=SCALE, **SHAPE)
        losses = paper.token_losses(logits, answer)[1:]  # the forced <s> is not scored
        torch.testing.assert_close(sums[row], losses.sum(), atol=1e-5, rtol=1e-5)
        assert counts[row] == len(answer) - 1
        expected = expected + losses.sum()
    sums.sum().backward()
    expected.backward()
    torch.testing.assert_close(ours.grad, plain.grad, atol=1e-5, rtol=1e-4)


def test_label_logits_are_read_after_the_forced_start(plm):
    segments, media, ids = inputs(plm, steps=1)
    fused = encode_fused(plm, embedded(plm, prompts(1)), segments, FULL)
    before = {name: value.clone() for name, value in plm.model.state_dict().items()}
    logits = plm.label_logits(fused, plm.label_ids(["True", "False"]))
    for row in range(len(TEXTS)):
        memory = plain_memory(plm, prompts(1)[0], media[row], ids[row], blind=False)
        every = paper.decoder_logits(weights_of(plm), [2, 0], memory, scale=SCALE, **SHAPE)[-1]
        torch.testing.assert_close(logits[row], every[[5, 6]], atol=1e-5, rtol=1e-5)
    assert all(torch.equal(before[name], value) for name, value in plm.model.state_dict().items())


def test_no_prompt(plm):
    segments, media, ids = inputs(plm, steps=3)
    fused = encode_fused(plm, None, segments, FULL)
    for row in range(len(TEXTS)):
        expected = plain_memory(plm, None, media[row], ids[row], blind=False)
        torch.testing.assert_close(
            fused.vectors[row][fused.present[row]], expected, atol=1e-5, rtol=1e-5
        )


@pytest.mark.parametrize("visibility", [FULL, BLIND], ids=["full", "blind"])
def test_runs_side_by_side_are_runs_alone(plm, visibility):
    segments, _, _ = inputs(plm, steps=2)
    both = [Segment(one.vectors.repeat(2, 1, 1), one.present.repeat(2, 1)) for one in segments]
    together = prompts(2)
    fused = whole(encode_fused(plm, embedded(plm, together), both, visibility))
    fused.vectors[3:].square().sum().backward()  # the second run's rows only
    assert together.grad is not None
    assert together.grad[0].abs().max() == 0
    alone = whole(encode_fused(plm, embedded(plm, prompts(2)[1:]), segments, visibility))
    torch.testing.assert_close(fused.vectors[3:], alone.vectors, atol=1e-5, rtol=1e-5)


def test_blind_prompt_states_ignore_every_input(plm):
    segments, _, _ = inputs(plm, steps=2)
    vectors = segments[0].vectors.clone().requires_grad_()
    prompt, seen = embedded(plm, prompts(1)), [Segment.whole(vectors), segments[1]]
    blind = whole(encode_fused(plm, prompt, seen, BLIND))
    (gradient,) = torch.autograd.grad(blind.vectors[:, :5].pow(3).sum(), vectors)
    assert gradient.abs().max() == 0
    full = encode_fused(plm, prompt, seen, FULL)
    (gradient,) = torch.autograd.grad(full.vectors[:, :5].pow(3).sum(), vectors)
    assert gradient.abs().max() > 1e-3
