"""Times a training step at BART-base shape: each method, the blind shortcut, runs side by side.

    python benchmarks/train_step.py [--steps 5] [--rounds 3] [--batch 32] [--threads 2]

Weights are random (only shapes matter). The variants take turns, and each figure is the median
over rounds. The floor is the arithmetic of the step at the rate of this machine's own matrix
product, measured in the same run.
"""

import statistics
from collections.abc import Callable
from timeit import timeit
from types import SimpleNamespace
from typing import Any

import torch
import typer
from transformers import BartConfig, BartForConditionalGeneration

from promptfuse.tables import Table
from promptfuse.train.fusion.sequence import encode_fused
from promptfuse.train.fusion.visibility import BLIND, FULL, Visibility, attention_mask
from promptfuse.train.plm.bart import BartPLM
from promptfuse.train.plm.frozen import EncoderStates, Segment
from promptfuse.train.segments import embed

PROMPT, TEXT, ANSWER, HIDDEN = 20, 12, 4, 768


def bart_base() -> BartPLM:
    """Return a BART of base shape with random weights, and of a tokenizer its empty text."""
    shape = {"layers": 6, "attention_heads": 12, "ffn_dim": 3072}
    sides = {f"{side}_{name}": n for side in ("encoder", "decoder") for name, n in shape.items()}
    config = BartConfig(d_model=HIDDEN, **sides)
    tokenizer: Any = lambda _: SimpleNamespace(input_ids=[0, 2])  # noqa: E731
    return BartPLM(BartForConditionalGeneration(config), tokenizer)


def embedded(plm: BartPLM, prompts: torch.Tensor) -> torch.Tensor:
    """Return raw prompts [R, P, H] as the language model embeds a segment."""
    return embed(plm, Segment.whole(prompts), ("place", "scale")).vectors


def masked(plm: BartPLM, prompts: torch.Tensor, inputs: Segment) -> EncoderStates:
    """Return the encoder's outputs with the blind rule as a mask over the whole sequence."""
    rows, length = inputs.vectors.shape[0], prompts.shape[1]
    prompt = embedded(plm, prompts).expand(rows, -1, -1)
    present = torch.ones(rows, length + inputs.vectors.shape[1], dtype=torch.bool)
    roles = ["prompt"] * length + ["input"] * inputs.vectors.shape[1]
    mask = attention_mask(roles, present, BLIND, dtype=torch.float32)  # type: ignore[arg-type]
    return plm.encode(Segment(torch.cat([prompt, inputs.vectors], dim=1), present), mask)


def variants(plm: BartPLM, batch: int) -> dict[str, Callable[[], object]]:
    """Return what is timed, by name."""

    def step(runs: int, visibility: Visibility | None) -> None:
        """Do one step's work, forward, loss and backward to the prompts; no visibility: masked."""
        prompts = torch.randn(runs, PROMPT, HIDDEN).requires_grad_()
        inputs = Segment.whole(torch.randn(runs * batch, 1 + TEXT, HIDDEN))
        if visibility is None:
            fused = masked(plm, prompts, inputs)
        else:
            fused = encode_fused(plm, embedded(plm, prompts), [inputs], visibility)
        sums, _ = plm.answer_loss(fused, [[0, 100, 200, 2]] * (runs * batch))
        sums.sum().backward()

    return {
        "promptfuse": lambda: step(1, FULL),
        "blindprompt, as a mask": lambda: step(1, None),
        "blindprompt, prompt run once": lambda: step(1, BLIND),
        "3 blindprompt runs, one by one": lambda: [step(1, BLIND) for _ in range(3)],
        "3 blindprompt runs, side by side": lambda: step(3, BLIND),
    }


def floor_seconds(batch: int) -> float:
    """Return the seconds that promptfuse's matrix products take at this machine's own rate.

    Weights are frozen, so backward is one product a weight (its input's gradient), as forward is.
    """
    a, b = torch.randn(1056, HIDDEN), torch.randn(HIDDEN, 3072)
    torch.mm(a, b)
    rate = 20 * 2 * 1056 * HIDDEN * 3072 / timeit(lambda: torch.mm(a, b), number=20)
    encoder = 6 * 12 * HIDDEN**2 * batch * (PROMPT + 1 + TEXT)
    cross = 6 * 2 * HIDDEN**2 * batch * (PROMPT + 1 + TEXT)
    decoder = 6 * 14 * HIDDEN**2 * batch * ANSWER + HIDDEN * 50265 * batch * ANSWER
    return 2 * 2 * (encoder + cross + decoder) / rate


def main(steps: int = 3, rounds: int = 3, batch: int = 32, threads: int = 2) -> None:
    """Time a training step at BART-base shape, by method."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    timed = variants(bart_base(), batch)
    seconds: dict[str, list[float]] = {name: [] for name in timed}
    for _ in range(rounds):
        for name, action in timed.items():
            seconds[name].append(timeit(action, number=steps) / steps)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    base = medians["promptfuse"]
    rows = [[name, value, value / base] for name, value in medians.items()]
    floor = floor_seconds(batch)
    rows.append(["promptfuse's products alone (floor)", floor, floor / base])
    title = f"seconds a step, batch {batch}, {threads} threads"
    print(Table(title, ["variant", "seconds", "against promptfuse"], rows).text())


if __name__ == "__main__":
    typer.run(main)
