"""How encoders run in torch, and how a library's loading errors become ours."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import CONFIG_MAPPING, AutoModel
from transformers.utils import logging

from ...errors import EncoderError, PromptFuseError, UnsafeWeights
from ...pretrained import Pretrained
from ..threads import usable_processors

Weights = Mapping[str, torch.Tensor]
"""A model's weights by name."""

_LONGEST_MESSAGE = 600


def parallel_passes(device: torch.device) -> int:
    """Return how many forward passes run at once: one on a GPU, one a processor without."""
    return usable_processors() if device.type == "cpu" else 1


@contextmanager
def loading(name: str) -> Iterator[None]:
    """Turn what libraries raise for an unusable checkpoint into an `EncoderError`."""
    try:
        yield
    except PromptFuseError:
        raise
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        text = " ".join(str(error).split())[:_LONGEST_MESSAGE] or type(error).__name__
        raise EncoderError(f"encoder {name!r} cannot be loaded: {text}") from error


def check_own_code(name: str, config: Mapping[str, Any]) -> None:
    """Check that transformers itself knows the architecture.

    Raises:
        UnsafeWeights: If the checkpoint would have to be read by code that it brings along.
    """
    if config.get("model_type") not in CONFIG_MAPPING and config.get("auto_map"):
        raise UnsafeWeights(
            f"encoder {name!r} needs code from its own folder ({config['auto_map']}), which is "
            "never run; use an encoder that transformers knows"
        )


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Silence progress bars and load reports; what matters in them is checked instead."""
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


@contextmanager
def exact_float32(device: torch.device, dtype: torch.dtype) -> Iterator[None]:
    """Keep convolutions in float32 where float32 was asked for; by default GPUs use TF32."""
    if device.type != "cuda" or dtype != torch.float32:
        yield
        return
    cudnn = torch.backends.cudnn
    with cudnn.flags(
        enabled=True,
        benchmark=cudnn.benchmark,
        deterministic=cudnn.deterministic,
        allow_tf32=False,
    ):
        yield


@contextmanager
def enough_memory(places: int) -> Iterator[None]:
    """Turn a GPU's running out of memory into an error that says what to do."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise EncoderError(
            f"the GPU has too little memory for a batch of {places}; use a smaller batch size, "
            "or float16 or bfloat16 for the computation"
        ) from error


def load_model(
    checkpoint: Pretrained, config: Any, dtype: torch.dtype
) -> tuple[torch.nn.Module, frozenset[str]]:
    """Return a model of transformers in eval mode, and the names of the weights that it lacks."""
    model, report = AutoModel.from_pretrained(
        checkpoint.folder,
        config=config,
        dtype=dtype,
        use_safetensors=True,
        local_files_only=True,
        trust_remote_code=False,
        output_loading_info=True,
    )
    return model.eval().requires_grad_(False), frozenset(report["missing_keys"])
