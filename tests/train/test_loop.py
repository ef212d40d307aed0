import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from promptfuse.cache.examples import read_examples
from promptfuse.cache.store import feature_sets
from promptfuse.errors import TrainingDiverged
from promptfuse.train import loop
from promptfuse.train.data import FusionData, open_source
from promptfuse.train.fusion.methods import Fusion
from promptfuse.train.fusion.parameters import initial_parameters
from promptfuse.train.loop import batch_of, steps_in_all, task_for, train
from promptfuse.train.settings import RunSettings
from promptfuse.train.state import Run, RunPlan, TrainState

from .small_plms import CLOSE, SMALL


def test_an_epoch_shows_every_example_once_in_an_order_of_its_own():
    plan = RunPlan(seed=4, indices=np.arange(10, 33), batch_size=5, steps=10)
    epochs = [
        np.concatenate([batch_of(plan, step) for step in range(start, start + 5)])
        for start in (0, 5)
    ]
    for epoch in epochs:
        assert sorted(epoch) == list(range(10, 33))
    assert epochs[0].tolist() != epochs[1].tolist()


def test_the_order_depends_on_the_seed_and_the_step_alone():
    plan = RunPlan(seed=4, indices=np.arange(9), batch_size=4, steps=9)
    other = RunPlan(seed=5, indices=np.arange(9), batch_size=4, steps=9)
    assert batch_of(plan, 7).tolist() == batch_of(plan, 7).tolist()
    assert batch_of(plan, 0).tolist() != batch_of(other, 0).tolist()


@pytest.mark.parametrize(
    ("examples", "max_steps", "steps"), [(64, None, 4), (65, None, 6), (65, 5, 5), (3, None, 2)]
)
def test_steps_in_all(examples, max_steps, steps):
    assert steps_in_all(examples, batch_size=32, epochs=2, max_steps=max_steps) == steps


@pytest.fixture
def data(sarcasm_cache, plm):
    def join(fusion, plm=plm):
        (features,) = feature_sets(sarcasm_cache, "video")
        source = open_source(features, plm, field=None, width_fix="none")
        return FusionData(read_examples(sarcasm_cache, "jokes", "train"), [source], plm, fusion)

    return join


def started(plm, fusion, seed, *, length=2, batch_size=4, steps=3, examples=8):
    drawn = initial_parameters(
        fusion, plm, [seed], prompt_length=length, modalities=["video"], prompt_init="tokens"
    )
    settings = RunSettings(lr_prompt=0.05 * (1 + seed), lr_other=1e-3)
    state = TrainState.start({name: part[0] for name, part in drawn.items()}, settings)
    return Run(RunPlan(seed, np.arange(examples), batch_size, steps), state)


@pytest.mark.parametrize(("bad", "option"), [("prompt", "--lr-prompt 0.2"), ("norm", "--lr-other")])
def test_a_loss_that_is_no_number_ends_its_run_alone(data, plm, bad, option):
    fusion = replace(Fusion.of("promptfuse"), train_norms=bad == "norm")
    joined = data(fusion)
    task = task_for(plm, ("True", "False"), joined.table)
    alone, beside, broken = (started(plm, fusion, seed) for seed in (2, 2, 3))
    name = "prompt" if bad == "prompt" else "norm.video.weight"
    broken.state.parameters[name].data.fill_(float("nan"))
    train(plm, joined, task, [alone], on_step=len)
    train(plm, joined, task, [broken, beside], on_step=len)
    assert isinstance(broken.error, TrainingDiverged)
    assert re.search(f"run with seed 3 is nan at step 1, with .*{option}", str(broken.error))
    assert broken.state.losses == []
    assert beside.error is None
    assert beside.state.losses == pytest.approx(alone.state.losses, abs=1e-5)


@pytest.mark.parametrize("family", SMALL)
@pytest.mark.parametrize("position", ["start", "middle"])
@pytest.mark.parametrize("name", ["promptfuse", "blindprompt"])
@pytest.mark.parametrize("labels", [("True", "False"), ()])
def test_runs_of_all_kinds_side_by_side_lose_what_they_lose_alone(
    data, family, position, name, labels
):
    plm, fusion = SMALL[family](), replace(Fusion.of(name), prompt_position=position)
    joined, close = data(fusion, plm), CLOSE[family]
    task = task_for(plm, labels, joined.table)

    def runs():
        kinds = [{"length": 5}, {"length": 2, "examples": 7}, {"length": 3, "steps": 5}]
        kinds += [{"batch_size": 3}, {"batch_size": 3, "length": 4, "steps": 1}]
        return [started(plm, fusion, seed, **kind) for seed, kind in enumerate(kinds)]

    told, beside, alone = [], runs(), runs()
    train(plm, joined, task, beside, on_step=lambda now: told.append(len(now)))
    for one, other in zip(alone, beside, strict=True):
        train(plm, joined, task, [one], on_step=len)
        assert len(one.state.losses) == one.plan.steps
        assert other.state.losses == pytest.approx(one.state.losses, abs=close)
        prompts = [run.state.parameters["prompt"] for run in (other, one)]
        torch.testing.assert_close(*prompts, atol=1e-3 if family == "t5" else 1e-4, rtol=1e-4)
    assert told == [3, 3, 3, 1, 1, 2, 1, 1]


def test_half_as_many_go_on_where_memory_runs_out(data, plm, monkeypatch):
    fusion, computed = Fusion.of("promptfuse"), loop.run_losses
    joined = data(fusion)
    task = task_for(plm, ("True", "False"), joined.table)

    def small(plm, data, task, parameters, *rest):
        if len(parameters["prompt"]) > 2:
            raise torch.OutOfMemoryError("no more")
        return computed(plm, data, task, parameters, *rest)

    monkeypatch.setattr(loop, "run_losses", small)
    runs, told = [started(plm, fusion, seed) for seed in range(5)], []
    train(plm, joined, task, runs, on_step=lambda now: told.append(len(now)))
    assert told == [2] * 6 + [1] * 3
    assert [len(run.state.losses) for run in runs] == [3] * 5
