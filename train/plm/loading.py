"""A frozen language model read from its folder."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging

from ...errors import PlmError
from ...pretrained import Pretrained


def read_model(
    kind: type[PreTrainedModel], source: Pretrained, *, dtype: torch.dtype, device: torch.device
) -> tuple[Any, PreTrainedTokenizerBase, dict[str, Any]]:
    """Return a folder's model, its tokenizer, and what a run's record says of them.

    Args:
        kind: The transformers class of the model with its language modelling head.
        source: The folder; its weights are read from safetensors only.
        dtype: Of the frozen weights.
        device: Where they go.

    Raises:
        PlmError: If the folder lacks a weight, which would be left random.
    """
    with _without_load_report():
        loaded: Any = kind.from_pretrained(
            source.folder,
            dtype=dtype,
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
        )
    model, report = loaded
    lacking = sorted(set(report["missing_keys"]) & {name for name, _ in model.named_parameters()})
    if lacking:
        raise PlmError(
            f"{source.id} lacks {len(lacking)} weights of {kind.__name__}, such as "
            f"{lacking[0]}; choose a checkpoint that was saved with its language modelling head"
        )
    identity = {
        "id": source.id,
        "revision": source.revision,
        "family": source.model_type,
        "hidden_size": model.config.hidden_size,
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "weights_sha256": source.weights_sha256,
        "config_sha256": source.config_sha256,
        "tokenizer_sha256": source.tokenizer_sha256,
    }
    tokenizer = AutoTokenizer.from_pretrained(source.folder, local_files_only=True)
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
