"""Frozen language models, one small adapter a family."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ...errors import PlmError, UnknownName
from ...pretrained import PLM_PATTERNS, Pretrained, device_named, dtype_on, resolve

if TYPE_CHECKING:
    import torch

    from .frozen import PLM


PLMS = {"bart": "BartPLM", "t5": "T5PLM", "bert": "BertPLM"}
"""A family's adapter, in the module of the family's name: the `model_type` of its configuration."""


def load_plm(
    source: str, *, revision: str | None = None, dtype: str = "float32", device: str = "auto"
) -> PLM:
    """Return the frozen language model of a hub id such as "facebook/bart-base", or a local folder.

    The revision is a branch, tag or commit of the hub, the dtype a name in `pretrained.DTYPES` or
    "auto" as `dtype_on` takes it, the device as `device_named` takes it.

    Raises:
        PretrainedError: If there is no such model, or its weights are not safetensors.
        UnknownName: If its family has no adapter, or there is no such dtype.
        PlmError: If it has no language modelling head, or its family cannot run in `dtype`.
    """
    from transformers import AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()  # loading shows its own bars, over ours
    there = device_named(device)
    precision = dtype_on(there, dtype)
    folder = resolve(source, revision=revision, patterns=PLM_PATTERNS)
    if folder.model_type not in PLMS:
        raise UnknownName("language model family", folder.model_type, list(PLMS))
    _ = folder.weights  # refuses pickles before anything is loaded
    module = import_module(f".{folder.model_type}", __name__)
    adapter: type[PLM] = getattr(module, PLMS[folder.model_type])
    model = _read_model(folder, adapter, precision)
    identity = {
        "id": folder.id,
        "revision": folder.revision,
        "family": folder.model_type,
        "hidden_size": model.config.hidden_size,
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "weights_sha256": folder.weights_sha256,
        "config_sha256": folder.config_sha256,
        "tokenizer_sha256": folder.tokenizer_sha256,
        "source": source,
    }
    tokenizer = AutoTokenizer.from_pretrained(folder.folder, local_files_only=True)
    return adapter(model.to(there), tokenizer, identity)


def _read_model(source: Pretrained, adapter: type[PLM], dtype: torch.dtype) -> Any:
    """Return a folder's model; a weight that it lacks would be left random, and is an error."""
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()  # no warning about weights of other heads
    try:
        loaded: Any = adapter.model_class.from_pretrained(
            source.folder,
            dtype=dtype,
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
        )
    finally:
        logging.set_verbosity(before)
    model, report = loaded
    lacking = sorted(set(report["missing_keys"]) & {name for name, _ in model.named_parameters()})
    if lacking:
        raise PlmError(
            f"{source.id} lacks {len(lacking)} weights of {adapter.model_class.__name__}, such as "
            f"{lacking[0]}; choose a checkpoint that was saved with its language modelling head"
        )
    return model
