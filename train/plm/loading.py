"""A frozen language model read from a checkpoint's folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging

from ...errors import PlmError
from ...pretrained import Pretrained


def read_model(
    kind: type[PreTrainedModel], checkpoint: Pretrained, *, dtype: torch.dtype, device: torch.device
) -> tuple[Any, PreTrainedTokenizerBase, dict[str, Any]]:
    """Return a checkpoint's model, its tokenizer, and what a run's record says of them.

    Args:
        kind: The transformers class of the model with its language modelling head.
        checkpoint: The folder; its weights are read from safetensors only.
        dtype: Of the frozen weights.
        device: Where they go.

    Raises:
        PlmError: If the checkpoint lacks a weight, which would be left random.
    """
    with _without_load_report():
        loaded: Any = kind.from_pretrained(
            checkpoint.folder,
            dtype=dtype,
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
        )
    model, found = loaded
    lacking = sorted(set(found["missing_keys"]) & {name for name, _ in model.named_parameters()})
    if lacking:
        raise PlmError(
            f"{checkpoint.id} lacks {len(lacking)} weights of {kind.__name__}, such as "
            f"{lacking[0]}; choose a checkpoint that was saved with its language modelling head"
        )
    identity = {
        "id": checkpoint.id,
        "revision": checkpoint.revision,
        "family": checkpoint.model_type,
        "hidden_size": model.config.hidden_size,
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "weights_sha256": checkpoint.weights_sha256,
    }
    tokenizer = AutoTokenizer.from_pretrained(checkpoint.folder, local_files_only=True)
    return model.to(device), tokenizer, identity


@contextmanager
def _without_load_report() -> Iterator[None]:
    """Silence the warning about weights of other heads; what is missing is an error of ours."""
    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)
