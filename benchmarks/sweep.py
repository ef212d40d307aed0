"""A sweep's cells in passes of as many runs as measuring says pay, beside one run after another.

Two methods × three rates × five seeds at batch 8; a call is one step of each of a method's fifteen
runs, forward, loss, backward and each run's own Adam. The floor is the matrix products of the
passes, each shape at the machine's own rate.
"""

from collections.abc import Iterator, Sequence
from time import perf_counter

import numpy as np
import torch

from ..train.fusion.methods import Fusion
from ..train.plm.frozen import PLM, Segment
from ..train.segments import embed, fuse_segments, stages_of, text_segment
from ..train.settings import RunSettings
from ..train.state import Run, RunPlan, TrainState, stacked
from ..train.width import measured_width
from .bench import Line
from .executed import executed
from .machine import Machine
from .shapes import HIDDEN, bart_base

_RATES, _SEEDS, _BATCH, _PROMPT, _TEXT = (0.05, 0.1, 0.5), 5, 8, 20, 12
_ANSWER = [0, 100, 200, 2]


def lines(machine: Machine) -> Iterator[Line]:
    """Yield a line a method and dtype: its fifteen runs in passes, and one by one."""
    for dtype in (torch.float32, torch.bfloat16):
        plm = bart_base(dtype, machine.device)
        for method in ("promptfuse", "blindprompt"):
            sweep = _Sweep(plm, Fusion.of(method))
            width, _ = measured_width(lambda s=sweep: s.runs, sweep.train, plm.model, steps=2)
            floor = machine.product_seconds(executed(lambda s=sweep, w=width: s.step(w)), dtype)
            contenders = {
                f"{width} at a time": lambda s=sweep, w=width: s.step(w),
                "one by one": lambda s=sweep: s.step(1),
                "all in one pass": lambda s=sweep: s.step(len(s.runs)),
            }
            work = f"{len(sweep.runs)} runs of {method}, {str(dtype)[6:]}"
            yield Line(work, contenders, floor, len(sweep.runs), "runs' steps")


class _Sweep:
    """Runs of one method, all before their first step."""

    def __init__(self, plm: PLM, fusion: Fusion) -> None:
        self.plm, self.fusion = plm, fusion
        generator = torch.Generator().manual_seed(0)
        self.media = torch.randn(_BATCH, 1, HIDDEN, generator=generator).to(plm.device, plm.dtype)
        self.runs = [
            _run(torch.randn(_PROMPT, HIDDEN, generator=generator).to(plm.device), rate, seed)
            for rate in _RATES
            for seed in range(_SEEDS)
        ]

    def step(self, width: int) -> None:
        """Take one step of every run, so many at a time."""
        for at in range(0, len(self.runs), width):
            self._step(self.runs[at : at + width])

    def train(self, runs: Sequence[Run], steps: int) -> float:
        """Take so many steps of runs side by side; return the seconds of the fastest."""
        fastest = float("inf")
        for _ in range(steps):
            began = perf_counter()
            self._step(runs)
            if self.plm.device.type == "cuda":
                torch.cuda.synchronize()
            fastest = min(fastest, perf_counter() - began)
        return fastest

    def _step(self, runs: Sequence[Run]) -> None:
        plm, rows = self.plm, len(runs) * _BATCH
        frozen, _ = stages_of(self.fusion, "image")
        media = embed(plm, Segment.whole(self.media.repeat(len(runs), 1, 1)), frozen)
        text = text_segment(plm, plm.pad([list(range(10, 10 + _TEXT))] * rows))
        for run in runs:
            run.state.optimizer.zero_grad(set_to_none=True)
        encoded = fuse_segments(plm, self.fusion, stacked(runs), [media, text])
        sums, counts = plm.answer_loss(encoded, [_ANSWER] * rows)
        sums, counts = sums.view(len(runs), -1).sum(dim=1), counts.view(len(runs), -1).sum(dim=1)
        (sums / counts).sum().backward()
        for run in runs:
            run.update()


def _run(prompt: torch.Tensor, rate: float, seed: int) -> Run:
    state = TrainState.start({"prompt": prompt}, RunSettings(lr_prompt=rate))
    return Run(RunPlan(seed, np.arange(_BATCH), _BATCH, 1), state)
