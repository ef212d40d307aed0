"""Frozen language models, one small adapter a family."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .frozen import PLM


PLMS = {"bart": "BartPLM", "t5": "T5PLM", "bert": "BertPLM"}
"""A family's adapter, in the module of the family's name: the `model_type` of its configuration."""


def load_plm(
    source: str, *, revision: str | None = None, dtype: str = "float32", device: str = "auto"
) -> PLM:
    """Return the frozen language model of a hub id or a local folder.

    Args:
        source: Such as "facebook/bart-base", or a folder.
        revision: A branch, tag or commit of the hub; a local folder has none.
        dtype: A name in `pretrained.DTYPES`.
        device: As `device_named` takes it.

    Raises:
        PretrainedError: If there is no such model, or its weights are not safetensors.
        UnknownName: If its family has no adapter, or there is no such dtype.
        PlmError: If it has no language modelling head, or its family cannot run in `dtype`.
    """
    from transformers.utils import logging

    from ...errors import UnknownName
    from ...pretrained import PLM_PATTERNS, device_named, dtype_named, resolve

    logging.disable_progress_bar()  # loading shows its own bars, over ours
    there, precision = device_named(device), dtype_named(dtype)
    folder = resolve(source, revision=revision, patterns=PLM_PATTERNS)
    if folder.model_type not in PLMS:
        raise UnknownName("language model family", folder.model_type, list(PLMS))
    _ = folder.weights  # refuses pickles before anything is loaded
    adapter: type[PLM] = getattr(
        import_module(f".{folder.model_type}", __name__), PLMS[folder.model_type]
    )
    plm = adapter.read(folder, dtype=precision, device=there)
    plm.identity["source"] = source
    return plm
