"""Fuse image, video, audio and text with a few trained prompts and a frozen language model."""

__version__ = "0.1.0"
