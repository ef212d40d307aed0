from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from promptfuse import frozen_linear
from promptfuse.frozen_linear import FrozenLinear, speed_up_linear


@pytest.fixture(autouse=True)
def _onednn(monkeypatch):
    if not torch.backends.mkldnn.is_available():
        pytest.skip("this torch has no oneDNN")
    monkeypatch.setattr(frozen_linear, "_FASTER", True)


@contextmanager
def _counting() -> Iterator[list[str]]:
    called: list[str] = []

    class Count(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            called.append(str(function))
            return function(*args, **(kwargs or {}))

    with Count():
        yield called


def _onednn_calls(called: list[str]) -> int:
    return sum("mkldnn._linear_pointwise" in name for name in called)


def _through(layer: torch.nn.Linear, inputs: torch.Tensor, grads: torch.Tensor) -> tuple:
    leaf = inputs.clone().requires_grad_()
    outputs = layer(leaf)
    outputs.backward(grads)
    return outputs.detach(), leaf.grad


@pytest.mark.parametrize("shape", [(128, 96), (4, 32, 96), (2, 0, 96), (3, 96)])
@pytest.mark.parametrize("contiguous", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_outputs_and_gradients_are_those_of_the_plain_layer(shape, contiguous, bias):
    torch.manual_seed(0)
    layer = torch.nn.Linear(96, 128, bias=bias).requires_grad_(False)
    inputs, grads = torch.randn(shape), torch.randn(*shape[:-1], 128)
    if not contiguous:
        inputs = torch.randn(*reversed(shape)).permute(*range(len(shape))[::-1])
        grads = grads[..., :1].expand_as(grads)
    plain = _through(layer, inputs, grads)
    speed_up_linear(torch.nn.Sequential(layer))
    assert type(layer) is FrozenLinear
    for fast, slow in zip(_through(layer, inputs, grads), plain, strict=True):
        torch.testing.assert_close(fast, slow, atol=2e-6, rtol=1e-6)


def test_large_products_go_to_onednn_forward_and_backward_and_small_ones_do_not():
    layer = torch.nn.Linear(96, 128).requires_grad_(False)
    speed_up_linear(layer)
    with _counting() as called:
        layer(torch.randn(128, 96).requires_grad_()).sum().backward()
        layer(torch.randn(8, 96))
    assert _onednn_calls(called) == 2


def test_a_layer_that_trains_gets_its_gradient():
    layer = torch.nn.Linear(96, 128)
    speed_up_linear(layer)
    layer(torch.randn(128, 96)).sum().backward()
    assert layer.weight.grad is not None


def test_other_dtypes_stay_with_torch():
    layer = torch.nn.Linear(96, 128, dtype=torch.bfloat16).requires_grad_(False)
    speed_up_linear(layer)
    with _counting() as called:
        layer(torch.randn(128, 96, dtype=torch.bfloat16))
    assert _onednn_calls(called) == 0
