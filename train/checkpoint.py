"""Prompts and optimiser state on disk: safetensors, written so that a crash leaves old or new."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from ..cache.atomic import write_atomic
from ..errors import RunError
from .loop import TrainState


def save_prompt(path: Path, prompt: torch.Tensor, metadata: Mapping[str, object]) -> None:
    """Write a trained prompt [P, H] with what it was trained for.

    Args:
        path: The file.
        prompt: The prompt.
        metadata: JSON values: language model, encoder fingerprints, method, visibility, length.
    """
    described = {name: json.dumps(value, sort_keys=True) for name, value in metadata.items()}
    write_atomic(path, save({"prompt": prompt.detach().cpu().contiguous()}, described))


def load_prompt(path: Path) -> tuple[torch.Tensor, dict[str, object]]:
    """Return a prompt [P, H] and its metadata.

    Raises:
        RunError: If the file is absent or not a prompt's.
    """
    tensors, metadata = _read(path)
    if "prompt" not in tensors:
        raise RunError(f"{path} holds no prompt; it holds: {', '.join(sorted(tensors))}")
    return tensors["prompt"], {name: json.loads(value) for name, value in metadata.items()}


def save_checkpoint(path: Path, state: TrainState) -> None:
    """Write everything that training needs to go on to the same bits."""
    tensors = {"prompts": state.prompts.detach()}
    for name, value in state.optimizer.state.get(state.prompts, {}).items():
        tensors[f"adam.{name}"] = value
    tensors["losses"] = torch.tensor(state.losses, dtype=torch.float64)
    write_atomic(path, save(tensors, {"step": str(state.step)}))


def load_checkpoint(path: Path, state: TrainState) -> None:
    """Put a saved state into `state`.

    Raises:
        RunError: If the file is not a checkpoint of prompts of this shape.
    """
    tensors, metadata = _read(path)
    if tensors["prompts"].shape != state.prompts.shape:
        raise RunError(
            f"{path} holds prompts of shape {tuple(tensors['prompts'].shape)}, this run has "
            f"{tuple(state.prompts.shape)}"
        )
    state.prompts.data.copy_(tensors["prompts"])
    state.optimizer.state[state.prompts] = {
        name.removeprefix("adam."): value.to(state.prompts.device) if value.dim() else value
        for name, value in tensors.items()
        if name.startswith("adam.")
    }
    state.step = int(metadata["step"])
    state.losses = tensors["losses"].tolist()


def _read(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    if not path.is_file():
        raise RunError(
            f"{path} is not there; was the run interrupted? pfcli train --resume {path.parent}"
        )
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except SafetensorError as error:
        raise RunError(f"{path} is damaged ({error}); train the run again") from error
