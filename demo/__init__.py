"""The embedded default: `promptfuse.toml`, what generates its datasets, and small frozen models."""

from .generate import GENERATORS, generate

__all__ = ["GENERATORS", "generate"]
