"""Writing a model's weights in half precision."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

from transformers import PreTrainedModel


def save_half(model: PreTrainedModel, folder: Path) -> None:
    """Writes a copy of the model as fp16 safetensors with its config; the model is untouched."""
    folder.mkdir(parents=True, exist_ok=True)
    deepcopy(model).half().save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)
