import numpy as np
import pytest

from promptfuse.train.loop import RunPlan, batch_of, steps_in_all


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
