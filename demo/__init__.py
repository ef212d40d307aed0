"""The embedded default: `promptfuse.toml`, what generates its datasets, and small frozen models."""

from .generate import Generator, generate
from .mustard import MUSTARD
from .vqa import VQA

GENERATORS: dict[str, Generator] = {"vqa": VQA, "mustard": MUSTARD}

__all__ = ["GENERATORS", "Generator", "generate"]
