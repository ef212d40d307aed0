"""Dataset adapters: annotation files → `RawDataset`. `DATASETS` is the closed set of them."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...cache.examples import DatasetInfo, Example
from ...cache.modalities import MODALITIES
from ...errors import ConfigError, DatasetMissing, UnknownName
from . import mustard, table, vqav2
from .annotations import RawDataset

#: What reads the annotations below a folder: `read(root, *, name=None, **options)`.
DATASETS: dict[str, Callable[..., RawDataset]] = {
    "mustard": mustard.read,
    "table": table.read,
    "vqav2": vqav2.read,
}


def read_raw(
    adapter: str, root: Path, *, name: str | None = None, options: Mapping[str, Any] | None = None
) -> RawDataset:
    """Return the annotations that an adapter finds below a folder (`table`: or in a table itself).

    `name` is the dataset's name in the cache, by default the adapter's own.
    """
    if adapter not in DATASETS:
        raise UnknownName("dataset adapter", adapter, list(DATASETS))
    read, options = DATASETS[adapter], options or {}
    _, _, *valid = inspect.signature(read).parameters  # after root and name
    if unknown := [option for option in options if option not in valid]:
        raise ConfigError(
            f"dataset adapter {adapter!r} has no option {unknown[0]!r}; it has: {', '.join(valid)}"
        )
    if not root.exists():
        kind = "file" if root.suffix else "folder"
        raise DatasetMissing(f"{root}: no such {kind}; expected a {adapter} dataset there")
    return read(root, name=name, **options)


def read_files(files: Sequence[Path], text: str, *, modalities: Sequence[str]) -> RawDataset:
    """Return one example a file, all of one text; a clip gives its video and its sound."""
    if len(modalities) > 1 and not all(MODALITIES[name].temporal for name in modalities):
        raise ConfigError(
            f"each example needs {' and '.join(modalities)}, which are two files: give a table "
            f"(JSONL, CSV, Parquet) with columns id, text, {', '.join(modalities)}"
        )
    paths = [dict.fromkeys(modalities, str(path.expanduser().resolve())) for path in files]
    examples = [Example(str(number), text, paths=row) for number, row in enumerate(paths, start=1)]
    return files_dataset(examples, modalities)


def files_dataset(examples: Sequence[Example], modalities: Sequence[str]) -> RawDataset:
    """Return examples as a dataset, their media given by absolute paths."""
    info = DatasetInfo("files", "files", "text", modalities=tuple(modalities))
    return RawDataset(info, {"files": list(examples)}, root=Path("/"))
