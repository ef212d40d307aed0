"""Which matrix products an action executes, as they happen: what a floor is counted from."""

from collections import Counter
from collections.abc import Callable, Iterator
from math import prod
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode

from .machine import Products

_FACTORS = {"mm": 0, "bmm": 0, "addmm": 1, "baddbmm": 1}
"""Where each operation's first factor stands among what it is given."""
_LINEAR = ("linear", "_linear_pointwise")
"""Operations on inputs [..., I] and a layer's weight [O, I]."""


class _Recorder(TorchDispatchMode):
    """Counts the products of whatever runs under it, backward passes too."""

    def __init__(self) -> None:
        super().__init__()
        self.shapes: Counter[tuple[int, int, int]] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        name = func.overloadpacket.__name__
        if name in _LINEAR:
            inputs, weight = args[:2]
            self.shapes[prod(inputs.shape[:-1]), inputs.shape[-1], len(weight)] += 1
        elif (at := _FACTORS.get(name)) is not None:
            left, right = args[at : at + 2]
            shape = (left.shape[-2], left.shape[-1], right.shape[-1])
            self.shapes[shape] += prod(left.shape[:-2])
        return func(*args, **(kwargs or {}))


def executed(action: Callable[[], object]) -> Iterator[Products]:
    """Yield the matrix products that a call executes; attention's own are not among them."""
    with _Recorder() as recorder:
        action()
    for shape, times in recorder.shapes.items():
        yield Products(times, *shape)
