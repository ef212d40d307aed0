"""The file formats a shard can have, behind one protocol."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..errors import CacheError, UnknownName
from . import arrow, hdf5
from .shard import Shard

Format = Literal["arrow", "hdf5"]


@dataclass(frozen=True)
class Backend:
    """One file format: what writes a shard, and what maps it."""

    extension: str
    write: Callable[[Path, Shard], None]
    open: Callable[[Path], Shard]


BACKENDS: dict[str, Backend] = {
    "arrow": Backend(".arrow", arrow.write_shard, arrow.open_shard),
    "hdf5": Backend(".h5", hdf5.write_shard, hdf5.open_shard),
}


def backend_of(format: str) -> Backend:  # noqa: A002  (the word users type)
    """Return the backend of that name."""
    if format not in BACKENDS:
        raise UnknownName("format", format, list(BACKENDS))
    return BACKENDS[format]


def format_of(file: str) -> str:
    """Return the format of a shard by its name's extension."""
    for name, backend in BACKENDS.items():
        if file.endswith(backend.extension):
            return name
    raise CacheError(f"{file}: no format has this extension")


def open_shard(path: Path) -> Shard:
    """Return the shard in a file of either format."""
    return BACKENDS[format_of(path.name)].open(path)
