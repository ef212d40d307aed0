"""Cached examples joined with cached features, as batches of segments for a language model."""

from .batches import FusionData
from .sources import Source, open_source, open_sources

__all__ = ["FusionData", "Source", "open_source", "open_sources"]
