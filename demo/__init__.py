"""The embedded default: two generated datasets and three small frozen models."""

from .datasets import DEMO_DATASETS, DemoDataset, generate
from .shipped import MODELS, model_path

__all__ = ["DEMO_DATASETS", "MODELS", "DemoDataset", "generate", "model_path"]
