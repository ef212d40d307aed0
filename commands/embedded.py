"""What generated datasets need in the cache: made where a command finds it missing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from ..cache.examples import read_dataset, read_datasets
from ..cache.modalities import MODALITIES
from ..config import ConfigFile, Workspace
from ..errors import CacheError
from ..extract.settings import ExtractSettings
from ..train.data.selection import has_field, select
from ..train.settings import InputChoice
from .extract import run_extraction


def extract_generated(workspace: Workspace, dataset: str, settings: ExtractSettings) -> None:
    """Generate a dataset if it is not there, and extract it as the settings say."""
    own = replace(workspace, dataset=dataset, data=None)
    run_extraction(ConfigFile(Path(), {}), own, settings, hint=False)


def provide_generated(workspace: Workspace, dataset: str, inputs: Iterable[InputChoice]) -> None:
    """Extract what is going to be fed in of a generated dataset and is not in the cache.

    Of any other dataset, nothing: extraction takes long, and is asked for.

    Args:
        workspace: Where the cache and the generated data lie.
        dataset: Its name.
        inputs: What is going to be fed in.
    """
    if workspace.data is not None or workspace.row(dataset).generator is None:
        return
    cache_root = Path(workspace.cache)
    if dataset not in [info.name for info in read_datasets(cache_root)]:
        extract_generated(workspace, dataset, ExtractSettings())
    modalities = read_dataset(cache_root, dataset).modalities
    for choice in inputs:
        wanted = replace(choice, modalities=choice.modalities or modalities)
        if not _is_there(cache_root, dataset, wanted):
            extract_generated(workspace, dataset, _extraction(wanted))


def _is_there(cache_root: Path, dataset: str, wanted: InputChoice) -> bool:
    try:
        found = select(cache_root, dataset, "train", wanted)
    except CacheError:  # extraction repairs it, or says what it cannot repair
        return False
    asked = wanted.fields or {}
    return wanted.live or all(
        has_field(features, asked.get(name, MODALITIES[name].default_field))
        for name, features in found.features.items()
    )


def _extraction(wanted: InputChoice) -> ExtractSettings:
    if wanted.live:
        decoded = {name: MODALITIES[name].decoded_field for name in wanted.modalities or ()}
        return ExtractSettings(modality=wanted.modalities, encoder=decoded)
    return ExtractSettings(modality=wanted.modalities, fields=dict(wanted.fields) or None)
