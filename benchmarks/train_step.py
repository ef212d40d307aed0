"""Times a training step at BART-base shape: each method, the blind shortcut, runs side by side.

    python benchmarks/train_step.py [--steps 5] [--rounds 3] [--batch 32] [--threads 2]

Weights are random (only shapes matter). The variants take turns, and each figure is the median
over rounds. The floor is the arithmetic of the step at the rate of this machine's own matrix
product, measured in the same run.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch
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
    config = BartConfig(
        d_model=HIDDEN,
        encoder_layers=6,
        decoder_layers=6,
        encoder_attention_heads=12,
        decoder_attention_heads=12,
        encoder_ffn_dim=3072,
        decoder_ffn_dim=3072,
    )
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


def step(plm: BartPLM, runs: int, batch: int, encode: Callable[..., EncoderStates]) -> None:
    """Do one step's work: forward, loss, backward to the prompts."""
    prompts = torch.randn(runs, PROMPT, HIDDEN).requires_grad_()
    inputs = Segment.whole(torch.randn(runs * batch, 1 + TEXT, HIDDEN))
    fused = encode(plm, prompts, inputs)
    answers = [[0, 100, 200, 2]] * (runs * batch)
    sums, _ = plm.answer_loss(fused, answers)
    sums.sum().backward()


def variants(plm: BartPLM, batch: int) -> dict[str, Callable[[], None]]:
    """Return what is timed, by name."""

    def fused(visibility: Visibility) -> Callable[..., EncoderStates]:
        return lambda plm, prompts, inputs: encode_fused(
            plm, embedded(plm, prompts), [inputs], visibility
        )

    def three_alone() -> None:
        for _ in range(3):
            step(plm, 1, batch, fused(BLIND))

    return {
        "promptfuse": lambda: step(plm, 1, batch, fused(FULL)),
        "blindprompt, as a mask": lambda: step(plm, 1, batch, masked),
        "blindprompt, prompt run once": lambda: step(plm, 1, batch, fused(BLIND)),
        "3 blindprompt runs, one by one": three_alone,
        "3 blindprompt runs, side by side": lambda: step(plm, 3, batch, fused(BLIND)),
    }


def floor_seconds(batch: int) -> float:
    """Return the seconds that promptfuse's matrix products take at this machine's own rate.

    Weights are frozen, so backward is one product a weight (its input's gradient), as forward is.
    """
    a, b = torch.randn(1056, HIDDEN), torch.randn(HIDDEN, 3072)
    torch.mm(a, b)
    started = time.perf_counter()
    for _ in range(20):
        torch.mm(a, b)
    rate = 20 * 2 * 1056 * HIDDEN * 3072 / (time.perf_counter() - started)
    encoder = 6 * 12 * HIDDEN**2 * batch * (PROMPT + 1 + TEXT)
    cross = 6 * 2 * HIDDEN**2 * batch * (PROMPT + 1 + TEXT)
    decoder = 6 * 14 * HIDDEN**2 * batch * ANSWER + HIDDEN * 50265 * batch * ANSWER
    return 2 * 2 * (encoder + cross + decoder) / rate


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    timed = variants(bart_base(), arguments.batch)
    seconds: dict[str, list[float]] = {name: [] for name in timed}
    for _ in range(arguments.rounds):
        for name, action in timed.items():
            started = time.perf_counter()
            for _ in range(arguments.steps):
                action()
            seconds[name].append((time.perf_counter() - started) / arguments.steps)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    base = medians["promptfuse"]
    rows = [[name, value, value / base] for name, value in medians.items()]
    floor = floor_seconds(arguments.batch)
    rows.append(["promptfuse's products alone (floor)", floor, floor / base])
    title = f"seconds a step, batch {arguments.batch}, {arguments.threads} threads"
    print(Table(title, ["variant", "seconds", "against promptfuse"], rows).text())


if __name__ == "__main__":
    main()
