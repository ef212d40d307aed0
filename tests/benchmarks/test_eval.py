import pytest
import torch

from promptfuse.benchmarks import eval as eval_bench
from promptfuse.benchmarks.eval import Split, evaluation
from promptfuse.benchmarks.machine import Machine
from promptfuse.errors import RunError

from ..train.small_bart import small_bart
from ..train.small_t5 import small_t5

HERE = Machine("cpu", None)


@pytest.fixture(autouse=True)
def no_floor(monkeypatch):
    monkeypatch.setattr(eval_bench, "executed", lambda _: ())


@pytest.mark.parametrize("plm", [small_bart(seed=1), small_t5(seed=1)], ids=["bart", "t5"])
@pytest.mark.parametrize("method", ["promptfuse", "blindprompt"])
def test_all_contenders_give_the_same_answers(plm, method):
    getattr(plm.model, "final_logits_bias", torch.zeros(0)).zero_()  # of tests, not of models
    split = Split.drawn(plm, method, 20)
    line = evaluation("small", split, HERE, batch_size=8)
    ours, *peers = (run() for run in line.contenders.values())
    assert peers == [ours, ours]


def test_answers_that_differ_are_no_figure(monkeypatch):
    split = Split.drawn(small_bart(), "promptfuse", 6)
    monkeypatch.setattr(eval_bench, "_generated", lambda split, plm, part: ["other"] * len(part))
    with pytest.raises(RunError, match="6 of 6 answers by small differ from generate's"):
        evaluation("small", split, HERE)
