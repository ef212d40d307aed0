import torch

from promptfuse.benchmarks.executed import executed
from promptfuse.benchmarks.machine import Products


def test_products_are_counted_forwards_and_backwards() -> None:
    weight, inputs = torch.randn(3, 4), torch.randn(2, 5, 4, requires_grad=True)
    frozen = torch.nn.Parameter(weight, requires_grad=False)

    def step() -> None:
        made = torch.nn.functional.linear(inputs, frozen, torch.zeros(3))
        torch.bmm(made, made.detach().mT).sum().backward()

    counted = [(10, 4, 3), (10, 3, 4)]  # ten rows at once: forwards, and their gradient's
    attended = [(5, 3, 5), (5, 5, 3)]
    expected = {Products(1, *shape) for shape in counted} | {
        Products(2, *shape) for shape in attended
    }
    assert set(executed(step)) == expected
