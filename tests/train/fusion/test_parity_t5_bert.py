"""T5 and BERT against an independent reading of the paper's equations, as BART in test_parity."""

from types import ModuleType

import pytest
import torch

from promptfuse.train.fusion.sequence import encode_fused
from promptfuse.train.fusion.visibility import BLIND, FULL
from promptfuse.train.plm.frozen import EncoderStates, Segment

from .. import bert_equations, t5_equations
from ..paper_equations import token_losses
from ..small_plms import CLOSE, SMALL, embedded, text_of, whole

PLAIN: dict[str, ModuleType] = {"t5": t5_equations, "bert": bert_equations}
TEXTS = ["what colour is the square", "how many", "is the day nice yes"]
ANSWERS = {"t5": ["red", "two", "blue green"], "bert": ["red", "two", "blue"]}
MEDIA = [1, 7]  # a pooled vector, and a sequence that T5's buckets spread over


@pytest.fixture(scope="module", params=sorted(PLAIN))
def plm(request):
    return SMALL[request.param]()


class Case:
    """One batch of two media and a text, fused by the library and by the equations."""

    def __init__(self, plm, *, prompt: bool = True) -> None:
        self.plm, self.plain = plm, PLAIN[plm.family]
        random = torch.Generator().manual_seed(1)
        self.media = [torch.randn(len(TEXTS), steps, 16, generator=random) for steps in MEDIA]
        self.ids = plm.tokenise(TEXTS)
        start = torch.randn(1, 5, 16, generator=random)
        self.ours = start.clone().requires_grad_() if prompt else None
        self.theirs = start.clone().requires_grad_() if prompt else None

    def fused(self, visibility) -> EncoderStates:
        media = [Segment.whole(embedded(self.plm, one)) for one in self.media]
        prompt = None if self.ours is None else embedded(self.plm, self.ours)
        return encode_fused(self.plm, prompt, [*media, text_of(self.plm, TEXTS)], visibility)

    def memory(self, row: int, visibility) -> torch.Tensor:
        return self.plain.fused_memory(
            self.plm.model.state_dict(),
            None if self.theirs is None else self.theirs[0],
            [one[row] for one in self.media],
            self.ids[row],
            blind=visibility == BLIND,
        )


@pytest.mark.parametrize("visibility", [FULL, BLIND], ids=["full", "blind"])
def test_encoder_outputs_and_prompt_gradients(plm, visibility):
    case, close = Case(plm), CLOSE[plm.family]
    fused = whole(case.fused(visibility))
    weighting = torch.randn(60, 16, generator=torch.Generator().manual_seed(3))
    total, expected_total = torch.zeros(()), torch.zeros(())
    for row in range(len(TEXTS)):
        hidden, expected = fused.vectors[row][fused.present[row]], case.memory(row, visibility)
        torch.testing.assert_close(hidden, expected, atol=close, rtol=close)
        total = total + (hidden * weighting[: len(hidden)]).sum()
        expected_total = expected_total + (expected * weighting[: len(hidden)]).sum()
    total.backward()
    expected_total.backward()
    torch.testing.assert_close(case.ours.grad, case.theirs.grad, atol=1e-4, rtol=close)


@pytest.mark.parametrize("visibility", [FULL, BLIND], ids=["full", "blind"])
def test_answer_loss_and_gradient(plm, visibility):
    case, close = Case(plm), CLOSE[plm.family]
    answers = plm.tokenise_answers(ANSWERS[plm.family])
    sums, counts = plm.answer_loss(case.fused(visibility), answers)
    weights, expected = plm.model.state_dict(), torch.zeros(())
    for row, answer in enumerate(answers):
        logits = case.plain.answer_logits(weights, case.memory(row, visibility), answer)
        losses = token_losses(logits, answer)
        torch.testing.assert_close(sums[row], losses.sum(), atol=close, rtol=close)
        assert counts[row] == len(answer)
        expected = expected + losses.sum()
    sums.sum().backward()
    expected.backward()
    torch.testing.assert_close(case.ours.grad, case.theirs.grad, atol=close, rtol=1e-4)


def test_label_logits_without_a_prompt(plm):
    case, close = Case(plm, prompt=False), CLOSE[plm.family]
    labels = plm.label_ids(["True", "False"])
    logits = plm.label_logits(case.fused(FULL), labels)
    for row in range(len(TEXTS)):
        memory = case.memory(row, FULL)
        every = case.plain.answer_logits(plm.model.state_dict(), memory, [int(labels[0])])[0]
        torch.testing.assert_close(logits[row], every[labels], atol=close, rtol=close)


def test_blind_prompt_states_ignore_every_input(plm):
    case = Case(plm)
    case.media[1].requires_grad_()
    for visibility, sees in ((BLIND, False), (FULL, True)):
        prompt_states = whole(case.fused(visibility)).vectors[:, :5]
        (gradient,) = torch.autograd.grad(
            prompt_states.pow(3).sum(), case.media[1], allow_unused=True
        )
        assert (gradient is not None and bool(gradient.abs().max() > 1e-3)) == sees
