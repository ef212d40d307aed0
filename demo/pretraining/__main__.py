"""Remake one of the demo's frozen models: its weights, its config and its processor or tokenizer.

python -m promptfuse.demo.pretraining vit --output DIR --seed 0
"""

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from .bart import TextModel
from .encoders import VIT, WAV2VEC2, Supervised
from .training import Model, pretrain

MODELS: dict[str, Callable[[int, Path | None], Model]] = {
    "vit": partial(Supervised, VIT),
    "wav2vec2": partial(Supervised, WAV2VEC2),
    "bart": TextModel,
}
"""From a seed, and a folder to go on from, to a model."""


def main() -> None:
    """Pretrain the model that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", choices=sorted(MODELS))
    parser.add_argument("--output", type=Path, required=True, help="folder to write to")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, help="of the schedule (default: as shipped)")
    parser.add_argument("--minutes", type=float, help="end the schedule after this time")
    parser.add_argument("--stop-after", type=int, help="end at this step of the schedule")
    parser.add_argument("--start", type=Path, help="go on from a folder written before")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    pretrain(
        MODELS[options.model](options.seed, options.start),
        options.output,
        steps=options.steps,
        minutes=options.minutes,
        stop_after=options.stop_after,
    )


if __name__ == "__main__":
    main()
