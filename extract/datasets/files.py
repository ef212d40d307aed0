"""Media files named one by one, with one question for all of them."""

from collections.abc import Sequence
from pathlib import Path

from ...cache.examples import DatasetInfo, Example
from ...cache.modalities import MODALITIES
from ...errors import ConfigError
from .annotations import RawDataset


def read_files(files: Sequence[Path], text: str, *, modalities: Sequence[str]) -> RawDataset:
    """Return one example a file, all of one text; a clip gives its video and its sound."""
    if len(modalities) > 1 and not all(MODALITIES[name].temporal for name in modalities):
        raise ConfigError(
            f"each example needs {' and '.join(modalities)}, which are two files: give a table "
            f"(JSONL, CSV, Parquet) with columns id, text, {', '.join(modalities)}"
        )
    examples = [
        Example(
            id=str(number),
            text=text,
            paths=dict.fromkeys(modalities, str(path.expanduser().resolve())),
        )
        for number, path in enumerate(files, start=1)
    ]
    return files_dataset(examples, modalities)


def files_dataset(examples: Sequence[Example], modalities: Sequence[str]) -> RawDataset:
    """Return examples as a dataset, their media given by absolute paths."""
    info = DatasetInfo("files", "files", "text", modalities=tuple(modalities))
    return RawDataset(info, {"files": list(examples)}, root=Path("/"))
