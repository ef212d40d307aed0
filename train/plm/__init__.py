"""Frozen language models, one small adapter a family."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from .protocol import PLM


def _bart(source: str, *, dtype: torch.dtype, device: torch.device) -> PLM:
    from .bart import BartPLM

    return BartPLM.from_pretrained(source, dtype=dtype, device=device)


PLMS = {"bart": _bart}
"""Adapter by the checkpoint's `model_type`."""


def load_plm(source: str, *, dtype: str = "float32", device: str = "auto") -> PLM:
    """Return the frozen language model of a hub id or a local folder.

    Args:
        source: Such as "facebook/bart-base", or a folder.
        dtype: "float32" or "bfloat16".
        device: A torch device; "auto" takes a GPU where there is one.

    Raises:
        CheckpointMissing: If there is no such checkpoint.
        UnknownName: If its family has no adapter.
    """
    import torch
    from transformers.utils import logging

    from ...checkpoints import local_checkpoint, read_config
    from ...errors import UnknownName

    logging.disable_progress_bar()  # loading shows its own bars, over ours
    family = read_config(local_checkpoint(source)).get("model_type", "")
    if family not in PLMS:
        raise UnknownName("language model family", family, list(PLMS))
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return PLMS[family](source, dtype=getattr(torch, dtype), device=torch.device(device))
