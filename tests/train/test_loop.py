from dataclasses import replace

import numpy as np
import pytest
import torch

from promptfuse.cache.examples import read_examples
from promptfuse.cache.store import feature_sets
from promptfuse.errors import TrainingDiverged
from promptfuse.train.data import FusionData, open_source
from promptfuse.train.fusion.methods import Fusion
from promptfuse.train.fusion.parameters import initial_parameters
from promptfuse.train.loop import RunPlan, TrainState, batch_of, steps_in_all, task_for, train
from promptfuse.train.settings import RunSettings


def test_an_epoch_shows_every_example_once_in_an_order_of_its_own():
    plan = RunPlan(seed=4, indices=np.arange(10, 33))
    epochs = [
        np.concatenate([batch_of(plan, step, batch_size=5) for step in range(start, start + 5)])
        for start in (0, 5)
    ]
    for epoch in epochs:
        assert sorted(epoch) == list(range(10, 33))
    assert epochs[0].tolist() != epochs[1].tolist()


def test_the_order_depends_on_the_seed_and_the_step_alone():
    plan = RunPlan(seed=4, indices=np.arange(9))
    other = RunPlan(seed=5, indices=np.arange(9))
    assert batch_of(plan, 7, batch_size=4).tolist() == batch_of(plan, 7, batch_size=4).tolist()
    assert batch_of(plan, 0, batch_size=9).tolist() != batch_of(other, 0, batch_size=9).tolist()


@pytest.mark.parametrize(
    ("examples", "max_steps", "steps"), [(64, None, 4), (65, None, 6), (65, 5, 5), (3, None, 2)]
)
def test_steps_in_all(examples, max_steps, steps):
    assert steps_in_all(examples, batch_size=32, epochs=2, max_steps=max_steps) == steps


@pytest.mark.parametrize(("bad", "option"), [("prompt", "--lr-prompt 0.5"), ("norm", "--lr-other")])
def test_a_loss_that_is_no_number_stops_the_training(sarcasm_cache, plm, bad, option):
    fusion = replace(Fusion.of("promptfuse"), train_norms=bad == "norm")
    (features,) = feature_sets(sarcasm_cache, "video")
    source = open_source(features, plm, field=None, width_fix="none")
    data = FusionData(read_examples(sarcasm_cache, "jokes", "train"), [source], plm, fusion)
    started = initial_parameters(
        fusion, plm, [3, 4], prompt_length=2, modalities=["video"], prompt_init="tokens"
    )
    name = "prompt" if bad == "prompt" else "norm.video.weight"
    started[name][1] = float("nan")
    state = TrainState.start(started, RunSettings(lr_prompt=0.5, lr_other=1e-3))
    plans = [RunPlan(seed, np.arange(8)) for seed in (3, 4)]
    taken = []
    with pytest.raises(TrainingDiverged, match=f"run with seed 4 is nan at step 1, .*{option}"):
        train(
            plm,
            data,
            task_for(plm, ("True", "False"), data.table),
            plans,
            state,
            batch_size=4,
            steps=9,
            on_step=taken.append,
        )
    assert taken == state.losses == []
    assert torch.equal(state.parameters[name][0], started[name][0])  # no step was taken
