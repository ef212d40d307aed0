"""What a command works on when it is not told: the embedded demo, or what the cache holds."""

from __future__ import annotations

from pathlib import Path

from .cache.examples import read_dataset, read_datasets
from .cache.modalities import MODALITIES
from .config import ConfigFile, Workspace, shipped
from .dataset_row import DatasetRow
from .errors import CacheError, ConfigError

PLM = "facebook/bart-base"
"""The paper's language model (table 2)."""

DECODED = frozenset(modality.decoded_field for modality in MODALITIES.values())
"""Encoder families that may stand alone."""


def dataset_to_extract(config: ConfigFile, workspace: Workspace) -> tuple[str, bool]:
    """Return the dataset's name and whether it was taken for want of any other.

    Raises:
        ConfigError: If there is data but no name for it.
    """
    if workspace.dataset is not None:
        return workspace.dataset, False
    if workspace.data is not None:
        raise ConfigError(
            f"data is {workspace.data}, of which dataset? name it: --dataset vqav2, mustard, or "
            "any name for a table"
        )
    if not config.empty:
        raise ConfigError(f"{config.path} names no dataset; add dataset = … or give --dataset")
    return str(shipped().dataset), True


def dataset_in_cache(workspace: Workspace) -> str:
    """Return the dataset to train on: the one named, or the only one that the cache holds.

    Raises:
        CacheError: If the cache holds none, or several and none is named.
    """
    cache_root = Path(workspace.cache)
    if workspace.dataset is not None:
        return read_dataset(cache_root, workspace.dataset).name
    names = [info.name for info in read_datasets(cache_root)]
    if not names:
        raise CacheError(f"{cache_root} holds no dataset; run first: pfcli extract --modality all")
    if len(names) > 1:
        raise CacheError(f"the cache holds {', '.join(names)}; choose one with --dataset")
    return names[0]


def encoder_for(row: DatasetRow, modality: str, chosen: str | None) -> str:
    """Return the encoder of a modality: the one chosen, the dataset's own, or the paper's.

    "pixels" or "samples" alone are the decoded media as the dataset's own or the paper's takes
    them.
    """
    if chosen in DECODED:
        return f"{chosen}:{encoder_for(row, modality, None)}"
    return chosen or row.encoder.get(modality) or MODALITIES[modality].default_encoder


def plm_for(row: DatasetRow, chosen: str | None) -> str:
    """Return the language model: the one chosen, the dataset's own, or the paper's."""
    return chosen or row.plm or PLM


def data_folder(workspace: Workspace, dataset: str) -> Path | None:
    """Return where a dataset's media are, if they are still there."""
    folder = workspace.data_of(dataset)
    if folder is not None and folder.is_file():  # a table: its media lie beside it
        folder = folder.parent
    return folder if folder is not None and folder.is_dir() else None
