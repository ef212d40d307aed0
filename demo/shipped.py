"""Where the demo's frozen models are."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from ..errors import UnknownName

MODELS = ("vit", "wav2vec2", "bart")


def model_path(name: Literal["vit", "wav2vec2", "bart"] | str) -> Path:
    """Return the folder of a shipped model: config, safetensors and its processor or tokenizer.

    Raises:
        UnknownName: there is no such model.
    """
    if name not in MODELS:
        raise UnknownName("demo model", name, list(MODELS))
    return Path(__file__).parent / "models" / name
