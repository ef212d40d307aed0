"""Remakes one of the demo's frozen models.

python -m promptfuse.demo.pretrain vit --output DIR --seed 0
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

STEPS = {"vit": 1_500, "wav2vec2": 500, "bart": 3_400}
# A language model that is trained to the end of its schedule leaves the prompt less to move.
BART_STOPS_AFTER = 750


def main(arguments: list[str] | None = None) -> None:
    """Pretrains the model that the command line names."""
    parser = argparse.ArgumentParser(prog="python -m promptfuse.demo.pretrain", description=__doc__)
    parser.add_argument("model", choices=sorted(STEPS))
    parser.add_argument("--output", type=Path, required=True, help="folder to write to")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, help="optimisation steps (default: as shipped)")
    parser.add_argument("--minutes", type=float, help="end the schedule after this time")
    parser.add_argument("--stop-after", type=int, default=BART_STOPS_AFTER, help="bart only")
    parser.add_argument("--start", type=Path, help="go on from a folder written before")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    steps = options.steps or STEPS[options.model]
    if options.model == "bart":
        from .pretrain_bart import pretrain as pretrain_bart

        pretrain_bart(
            options.output,
            seed=options.seed,
            steps=steps,
            minutes=options.minutes,
            start=options.start,
            stop_after=options.stop_after,
        )
        return
    if options.model == "vit":
        from .pretrain_vit import pretrain
    else:
        from .pretrain_wav2vec2 import pretrain
    pretrain(
        options.output,
        seed=options.seed,
        steps=steps,
        minutes=options.minutes,
        start=options.start,
    )


if __name__ == "__main__":
    main()
