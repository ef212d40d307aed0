"""Frozen language models, one small adapter a family."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from ...pretrained import Pretrained
    from .protocol import PLM


def _bart(checkpoint: Pretrained, *, dtype: torch.dtype, device: torch.device) -> PLM:
    from .bart import BartPLM

    return BartPLM.from_checkpoint(checkpoint, dtype=dtype, device=device)


def _t5(checkpoint: Pretrained, *, dtype: torch.dtype, device: torch.device) -> PLM:
    from .t5 import T5PLM

    return T5PLM.from_checkpoint(checkpoint, dtype=dtype, device=device)


def _bert(checkpoint: Pretrained, *, dtype: torch.dtype, device: torch.device) -> PLM:
    from .bert import BertPLM

    return BertPLM.from_checkpoint(checkpoint, dtype=dtype, device=device)


PLMS = {"bart": _bart, "t5": _t5, "bert": _bert}
"""Adapter by the checkpoint's `model_type`."""


def load_plm(
    source: str, *, revision: str | None = None, dtype: str = "float32", device: str = "auto"
) -> PLM:
    """Return the frozen language model of a hub id or a local folder.

    Args:
        source: Such as "facebook/bart-base" or "google-t5/t5-base", or a folder.
        revision: A branch, tag or commit of the hub; a local folder has none.
        dtype: A name in `devices.DTYPES`.
        device: As `devices.device_named` takes it.

    Raises:
        ConfigError: If this machine has no such device.
        PretrainedError: If there is no such checkpoint.
        UnsafeWeights: If its weights are not safetensors.
        UnknownName: If its family has no adapter.
        PlmError: If it has no language modelling head, or its family cannot run in `dtype`.
    """
    from transformers.utils import logging

    from ...devices import device_named, dtype_named
    from ...errors import UnknownName
    from ...pretrained import PLM_PATTERNS, resolve

    logging.disable_progress_bar()  # loading shows its own bars, over ours
    there, precision = device_named(device), dtype_named(dtype)
    checkpoint = resolve(source, revision=revision, patterns=PLM_PATTERNS)
    if checkpoint.model_type not in PLMS:
        raise UnknownName("language model family", checkpoint.model_type, list(PLMS))
    _ = checkpoint.weights  # refuses pickles before anything is loaded
    plm = PLMS[checkpoint.model_type](checkpoint, dtype=precision, device=there)
    plm.identity["source"] = source
    return plm
