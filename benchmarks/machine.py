"""The machine that is measured: its name, and the rates that floors are counted with."""

import os
import platform
from collections.abc import Iterable
from functools import cache, cached_property
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import torch

from ..frozen_linear import speed_up_linear

_LEAST_SECONDS = 0.2  # of one measurement of a rate


class Products(NamedTuple):
    """So many matrix products [rows, inner] × [inner, columns]."""

    times: float
    rows: int
    inner: int
    columns: int


class Machine:
    """Where a bench runs: the device of its tensors, and the machine's own measured rates."""

    def __init__(self, device: str, threads: int | None) -> None:
        self.device = torch.device(device)
        if threads is not None:
            torch.set_num_threads(threads)
        self.threads = torch.get_num_threads()

    @cached_property
    def name(self) -> str:
        """The processor or GPU, with the libraries that do the work."""
        if self.device.type == "cuda":
            where = torch.cuda.get_device_name(self.device)
        else:
            where = f"{_processor()}, {self.threads} of {os.cpu_count()} threads"
        return f"{where}; torch {torch.__version__}, Python {platform.python_version()}"

    def synchronise(self) -> None:
        """Wait until the device has done what it was given."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def product_seconds(
        self, products: Iterable[Products], dtype: torch.dtype = torch.float32
    ) -> float:
        """Return the seconds that matrix products take here, each shape at its own measured rate.

        This is the floor of what is executed: nothing between the products is counted.
        """
        return sum(n * self._one_product(m, k, c, dtype) for n, m, k, c in products)

    @cache  # noqa: B019  # a machine lives as long as the command
    def _one_product(self, rows: int, inner: int, columns: int, dtype: torch.dtype) -> float:
        """Return the seconds of one product, by the faster of torch's linear layer and ours."""
        left = torch.randn(rows, inner, device=self.device).to(dtype)
        layer = torch.nn.Linear(inner, columns, bias=False, device=self.device, dtype=dtype)
        theirs = self._fastest(lambda: layer(left))
        speed_up_linear(layer.requires_grad_(False))
        return min(theirs, self._fastest(lambda: layer(left)))

    @cached_property
    def copy_bytes_per_second(self) -> float:
        """Bytes that memory takes in and gives out again, read and written each counted once."""
        source = torch.ones(64 << 20, dtype=torch.uint8, device=self.device)
        target = torch.empty_like(source)
        return 2 * source.numel() / self._fastest(lambda: target.copy_(source))

    def _fastest(self, action) -> float:
        """Return the seconds of the fastest of several calls."""
        action()
        best, until = float("inf"), perf_counter() + _LEAST_SECONDS
        while perf_counter() < until:
            self.synchronise()
            began = perf_counter()
            action()
            self.synchronise()
            best = min(best, perf_counter() - began)
        return best


def _processor() -> str:
    """Return the processor's name as the kernel says it."""
    told = Path("/proc/cpuinfo")
    lines = told.read_text().splitlines() if told.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
