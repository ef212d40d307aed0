"""Frozen language models, one small adapter a family."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from ...checkpoints import Checkpoint
    from .protocol import PLM


def _bart(checkpoint: Checkpoint, *, dtype: torch.dtype, device: torch.device) -> PLM:
    from .bart import BartPLM

    return BartPLM.from_checkpoint(checkpoint, dtype=dtype, device=device)


def _t5(checkpoint: Checkpoint, *, dtype: torch.dtype, device: torch.device) -> PLM:
    from .t5 import T5PLM

    return T5PLM.from_checkpoint(checkpoint, dtype=dtype, device=device)


def _bert(checkpoint: Checkpoint, *, dtype: torch.dtype, device: torch.device) -> PLM:
    from .bert import BertPLM

    return BertPLM.from_checkpoint(checkpoint, dtype=dtype, device=device)


PLMS = {"bart": _bart, "t5": _t5, "bert": _bert}
"""Adapter by the checkpoint's `model_type`."""


def load_plm(source: str, *, dtype: str = "float32", device: str = "auto") -> PLM:
    """Return the frozen language model of a hub id or a local folder.

    Args:
        source: Such as "facebook/bart-base" or "google-t5/t5-base", or a folder.
        dtype: "float32" or "bfloat16".
        device: A torch device; "auto" takes a GPU where there is one.

    Raises:
        CheckpointError: If there is no such checkpoint.
        UnsafeWeights: If its weights are not safetensors.
        UnknownName: If its family has no adapter.
        PlmError: If it has no language modelling head, or its family cannot run in `dtype`.
    """
    import torch
    from transformers.utils import logging

    from ...checkpoints import PLM_PATTERNS, resolve
    from ...errors import UnknownName

    logging.disable_progress_bar()  # loading shows its own bars, over ours
    checkpoint = resolve(source, patterns=PLM_PATTERNS)
    if checkpoint.model_type not in PLMS:
        raise UnknownName("language model family", checkpoint.model_type, list(PLMS))
    _ = checkpoint.weights  # refuses pickles before anything is loaded
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    load = PLMS[checkpoint.model_type]
    plm = load(checkpoint, dtype=getattr(torch, dtype), device=torch.device(device))
    plm.identity["source"] = source
    return plm
