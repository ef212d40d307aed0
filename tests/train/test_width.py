from dataclasses import dataclass

import pytest
import torch

from promptfuse.train import width
from promptfuse.train.width import kept_bytes, measured_width


@dataclass
class Sized:
    size: tuple[int, int] = (8, 20)


@pytest.mark.parametrize(
    ("seconds", "runs", "expected"),
    [
        ({1: 1.0, 2: 1.2, 4: 2.0, 8: 5.0}, 15, 4),  # 0.6, 0.5, then 0.62 of one by one
        ({1: 1.0, 2: 1.99}, 15, 1),  # noise
        ({1: 1.0, 2: 1.2, 3: 1.3}, 3, 3),
        ({1: 1.0, 2: 1.2, 4: float("inf")}, 9, 2),  # memory ran out
        ({1: 1.0}, 1, 1),
    ],
)
def test_as_many_share_a_pass_as_make_a_runs_share_shorter(seconds, runs, expected):
    left = [Sized() for _ in range(runs)]
    best, said = measured_width(
        lambda: left, lambda beside, _: seconds[len(beside)], torch.nn.Linear(2, 2), steps=2
    )
    assert best == expected
    assert said.startswith(f"{best} run")


def test_memory_bounds_how_many_share_a_pass(monkeypatch):
    layer, left = torch.nn.Linear(64, 64).requires_grad_(False), [Sized() for _ in range(9)]

    def step(beside, _):
        rows = torch.randn(8 * len(beside), 64, requires_grad=True)
        layer(rows).relu().sum().backward()
        return 1.0 + 0.1 * len(beside)

    needed = kept_bytes(lambda: step(left[:1], 1), layer.parameters())
    assert needed > 0
    monkeypatch.setattr(width, "free_bytes", lambda _: 5 * 2 * needed)
    assert measured_width(lambda: left, step, layer, steps=1)[0] == 5
