"""The linear layers of a frozen model, by the faster of the products that torch comes with.

On a processor torch gives float32 products to MKL, which keeps AVX-512 to Intel's; oneDNN uses it
on others too, and does twice as many a second there. Weights are not copied.
"""

import platform
from pathlib import Path
from typing import Any

import torch
from torch.autograd.function import once_differentiable
from torch.nn.functional import linear

_CPU_INFO = Path("/proc/cpuinfo")

_FASTER = (
    torch.backends.mkldnn.is_available()
    and torch.backends.cpu.get_cpu_capability() == "AVX512"
    and "GenuineIntel"
    not in (_CPU_INFO.read_text() if _CPU_INFO.is_file() else platform.processor())
)
_WORTH_IT = 2**20  # multiplications: oneDNN takes 10 microseconds more to begin


class FrozenLinear(torch.nn.Linear):
    """A linear layer that passes its inputs' gradient on; one that is trained works as before."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002  (as torch names it)
        """Return [..., O] for inputs [..., I]."""
        if self.weight.requires_grad:
            return super().forward(input)
        if torch.is_grad_enabled() and input.requires_grad:
            return _FrozenProduct.apply(input, self.weight, self.bias)
        return _product(input, self.weight, self.bias)


def speed_up_linear(model: torch.nn.Module) -> None:
    """Have a frozen model's linear layers multiply by what is fastest here; weights stay theirs."""
    for layer in model.modules() if _FASTER else ():
        if type(layer) is torch.nn.Linear:
            layer.__class__ = FrozenLinear


class _FrozenProduct(torch.autograd.Function):
    """A product with a gradient for its inputs alone."""

    @staticmethod
    def forward(
        ctx: Any, inputs: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None
    ) -> torch.Tensor:
        ctx.weight = weight
        return _product(inputs, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grads: torch.Tensor) -> tuple[torch.Tensor, None, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return _product(grads, ctx.weight.t(), None), None, None


def _product(inputs: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    plain = inputs.dtype == weight.dtype == torch.float32 and inputs.device.type == "cpu"
    if not plain or inputs.numel() * len(weight) < _WORTH_IT:
        return linear(inputs, weight, bias)
    return torch.ops.mkldnn._linear_pointwise(inputs, weight, bias, "none", [], "")
