"""Run as a program: decode media that may end the process, and say after each that it did not."""

import json
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from .clips import decode_clip
from .images import decode_image
from .media import FrameSampling, Limits


def decode(asked: dict[str, Any]) -> None:
    """Decode a medium as `prepare.decoding_of` says."""
    path, limits = Path(asked["path"]), Limits(**asked["limits"])
    for least in asked["pictures"]:
        decode_image(path, limits=limits, least=least)
    if asked["clip"]:
        decode_clip(
            path,
            video=FrameSampling(**asked["sampling"]) if asked["sampling"] else None,
            transform_frame=_corner,
            audio_rate_hz=asked["audio_rate_hz"],
            span_seconds=tuple(asked["span_seconds"]) if asked["span_seconds"] else None,
            limits=limits,
        )


def _corner(pixels: np.ndarray) -> np.ndarray:
    return pixels[:1, :1]


def main() -> None:
    """Print a line for each medium of which a line of JSON was read."""
    for line in sys.stdin:
        with suppress(Exception):  # what is wrong with it is found out where it is recorded
            decode(json.loads(line))
        print(flush=True)


if __name__ == "__main__":
    main()
