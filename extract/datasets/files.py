"""Media files named one by one, with one question for all of them."""

from collections.abc import Sequence
from pathlib import Path

from ...cache.examples import Example
from ...cache.modalities import MODALITIES
from ...errors import ConfigError
from .raw import RawDataset


def read_files(files: Sequence[Path], text: str, *, modalities: Sequence[str]) -> RawDataset:
    """Return one example a file; a clip gives its video and its sound.

    Args:
        files: Wherever they lie.
        text: The question or utterance.
        modalities: What is wanted of each file.
    """
    if len(modalities) > 1 and not all(MODALITIES[name].temporal for name in modalities):
        raise ConfigError(
            f"each example needs {' and '.join(modalities)}, which are two files: give a table "
            f"(JSONL, CSV, Parquet) with columns id, text, {', '.join(modalities)}"
        )
    paths = [str(path.expanduser().resolve()) for path in files]
    return files_dataset(
        [
            Example(id=str(number), text=text, paths=dict.fromkeys(modalities, path))
            for number, path in enumerate(paths, start=1)
        ],
        modalities,
    )


def files_dataset(examples: Sequence[Example], modalities: Sequence[str]) -> RawDataset:
    """Return examples as a dataset, their media given by absolute paths.

    Args:
        examples: With unique ids.
        modalities: Those of their media.
    """
    return RawDataset(
        name="files",
        adapter="files",
        task="text",
        labels=(),
        positive=None,
        modalities=tuple(modalities),
        splits={"files": list(examples)},
        root=Path("/"),
    )
