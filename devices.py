"""The devices and dtypes that models run in, by the names that users type."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from .errors import ConfigError, UnknownName

if TYPE_CHECKING:
    import torch

DTYPES = ("float32", "bfloat16", "float16")


def dtype_named(name: str) -> torch.dtype:
    """Return the torch dtype of a name in `DTYPES`.

    Raises:
        UnknownName: If it is none of them.
    """
    import torch

    if name not in DTYPES:
        raise UnknownName("dtype", name, list(DTYPES))
    return getattr(torch, name)


def device_named(name: str) -> torch.device:
    """Return the device of a name: "auto" is the first GPU, or else the processor.

    Args:
        name: "auto", "cpu", "cuda", "cuda:N" or "mps".

    Raises:
        ConfigError: If it is none of them, or this machine has no such device.
    """
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    here = ["cpu", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
    if torch.backends.mps.is_available():
        here.append("mps")
    if name in here or (name == "cuda" and "cuda:0" in here):
        return torch.device(name)
    known = re.fullmatch(r"mps|cuda(:\d+)?", name)
    problem = "this machine has no such device" if known else "there is no such kind of device"
    raise ConfigError(f"device {name!r}: {problem}; choose one of: auto, {', '.join(here)}")
