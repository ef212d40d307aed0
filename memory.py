"""Going on with less where memory runs out."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import torch

from .errors import OutOfMemory

Result = TypeVar("Result")

_MEMINFO = Path("/proc/meminfo")
_CPU_SHORTAGES = ("not enough memory", "can't allocate memory", "DefaultCPUAllocator")


def is_shortage(error: BaseException) -> bool:
    """Return whether an exception says that a GPU's or the machine's memory ran out."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(said in str(error) for said in _CPU_SHORTAGES)


@contextmanager
def shortage_explained(doing: str, *, lower: str) -> Iterator[None]:
    """Raise an `OutOfMemory` that says what to `lower` where memory runs out while `doing` it."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_shortage(error):
            raise
        said = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise OutOfMemory(f"out of memory with {doing}: {lower} ({said})") from error


def with_less(
    attempt: Callable[[int], Result], size: int, *, what: str, lower: str
) -> tuple[Result, int]:
    """Return what `attempt(size)` gives, and the size: halved, and said so, until it fits.

    Messages say `what` there are so many of, as "examples at a time", and what a user can `lower`.
    """
    while size > 1:
        try:
            return attempt(size), size
        except (RuntimeError, MemoryError) as error:
            if not is_shortage(error):
                raise
        if torch.cuda.is_available():
            torch.cuda.empty_cache()  # so that the next attempt finds the blocks
        size //= 2
        print(f"out of memory: going on with {size} {what}; {lower}", file=sys.stderr)
    with shortage_explained(f"{size} {what}", lower=lower):
        return attempt(size), size


def free_bytes(device: torch.device) -> int:
    """Return how much memory a device has left for this process."""
    if device.type == "cuda":
        held = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + held
    if _MEMINFO.is_file():
        lines = dict(line.split(":", 1) for line in _MEMINFO.read_text().splitlines())
        return int(lines["MemAvailable"].split()[0]) * 1024
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
