"""Fuse image, video, audio and text with a few trained prompt vectors and a frozen language model."""

__version__ = "0.1.0"
