"""Dataset adapters: annotation files → `RawDataset`. `DATASETS` is the closed set of them."""

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ...errors import ConfigError, DatasetMissing, UnknownName
from . import mustard, table, vqav2
from .annotations import RawDataset
from .ingest import Ingested, MediumRef, identify, ingest

__all__ = ["DATASETS", "Ingested", "MediumRef", "RawDataset", "identify", "ingest", "read_raw"]

#: What reads the annotations below a folder: `read(root, *, name=None, **options)`.
DATASETS: dict[str, Callable[..., RawDataset]] = {
    "mustard": mustard.read,
    "table": table.read,
    "vqav2": vqav2.read,
}


def read_raw(
    adapter: str, root: Path, *, name: str | None = None, options: Mapping[str, Any] | None = None
) -> RawDataset:
    """Return the annotations that an adapter finds below a folder.

    Args:
        adapter: One of `DATASETS`.
        root: The dataset's folder (`table` also takes the table's own path).
        name: The dataset's name in the cache; the adapter's own by default.
        options: The adapter's options by name.
    """
    if adapter not in DATASETS:
        raise UnknownName("dataset adapter", adapter, list(DATASETS))
    read = DATASETS[adapter]
    options = options or {}
    _, _, *valid = inspect.signature(read).parameters  # after root and name
    if unknown := [option for option in options if option not in valid]:
        raise ConfigError(
            f"dataset adapter {adapter!r} has no option {unknown[0]!r}; it has: {', '.join(valid)}"
        )
    if not root.exists():
        kind = "file" if root.suffix else "folder"
        raise DatasetMissing(f"{root}: no such {kind}; expected a {adapter} dataset there")
    return read(root, name=name, **options)
