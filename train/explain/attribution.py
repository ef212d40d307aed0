"""Which pixels, frames, samples and words an answer rests on: Integrated Gradients (table 3).

All inputs go along one path together, from no signal to what they are.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from .explanation import PathFigures
from .fused_answer import FusedAnswer, Tensors


@dataclass(frozen=True)
class Integration:
    """How finely the path is walked.

    Attributes:
        steps: Points of the Gauss-Legendre rule on the whole path, and half as many on each part
            that has to be cut.
        max_steps: Points at which refining ends.
        tolerance: Refining ends where the delta is below this share of the output's change.
        units: How much is in one forward and backward pass, in images of 224 x 224 pixels and
            seconds of sound at 16 kHz; at least one point is.
    """

    steps: int = 50
    max_steps: int = 1600
    tolerance: float = 1e-2
    units: float = 16


@dataclass(frozen=True, kw_only=True)
class Attribution(PathFigures):
    """What an answer's log-odds rest on; the attributions sum to its change, but for delta.

    Attributes:
        media: By modality, in the shape of the decoded medium, float32.
        tokens: [T] float32, each token's sum over its embedding; special tokens have 0.
        target: The explained token: its id, or the label's index among the labels.
    """

    media: dict[str, torch.Tensor]
    tokens: torch.Tensor
    target: int


def attribute(
    answer: FusedAnswer,
    *,
    baseline: str = "black",
    integration: Integration | None = None,
    watch: Callable[[int], object] | None = None,
) -> Attribution:
    """Return what the first token that a method answers rests on.

    `baseline` is a name in `BASELINES`; `watch` is called before each forward pass with how many
    points of the path are in it.

    Source: table 3 of the paper; https://arxiv.org/abs/1703.01365.
    """
    inputs, baselines = answer.inputs(), answer.baselines(baseline)
    with torch.no_grad():
        target = int(answer.logits(*inputs)[0].argmax())
        output = float(answer.log_odds(target, *inputs))
        baseline_output = float(answer.log_odds(target, *baselines))

    def explained(*variants: torch.Tensor) -> torch.Tensor:
        if watch is not None:
            watch(len(variants[0]))
        return answer.log_odds(target, *variants)

    change = output - baseline_output
    settings = integration or Integration()
    rows = max(1, int(settings.units / sum(medium.units for medium in answer.media)))
    path = _walk(explained, baselines, inputs, abs(change), settings, rows=rows)
    sums = [sum(parts) for parts in zip(*(part.attributions for part in path), strict=True)]
    *media, tokens = (torch.as_tensor(total)[0].cpu() for total in sums)
    return Attribution(
        media={medium.modality: part for medium, part in zip(answer.media, media, strict=True)},
        tokens=tokens.sum(dim=1),
        target=target,
        output=output,
        baseline_output=baseline_output,
        delta=sum(float(part.sum(dtype=torch.float64)) for part in (*media, tokens)) - change,
        steps=sum(part.steps for part in path),
    )


@dataclass(frozen=True)
class _Part:
    """The integral over a part of the straight path, `[start, end)` of its whole."""

    start: float
    end: float
    attributions: Tensors
    delta: float
    steps: int


def _walk(
    explained: Callable[..., torch.Tensor],
    baselines: Tensors,
    inputs: Tensors,
    change: float,
    settings: Integration,
    *,
    rows: int,
) -> list[_Part]:
    """Return the parts of the path, cut where its own delta is largest until it converges.

    An encoder that brings its input to unit variance turns all at once just after silence: equal
    steps would have to be thousands to see it. A part that begins there is cut at an eighth, any
    other in halves.
    """
    from captum.attr import IntegratedGradients

    def integral(start: float, end: float, steps: int) -> _Part:
        first, last = (
            tuple(b + share * (x - b) for b, x in zip(baselines, inputs, strict=True))
            for share in (start, end)
        )
        attributions, delta = IntegratedGradients(explained).attribute(
            last,
            first,
            n_steps=steps,
            method="gausslegendre",
            internal_batch_size=rows,
            return_convergence_delta=True,
        )
        kept = tuple(part.detach() for part in attributions)
        return _Part(start, end, kept, float(delta), steps)

    parts = [integral(0.0, 1.0, settings.steps)]
    half = max(1, settings.steps // 2)
    while sum(abs(part.delta) for part in parts) > settings.tolerance * change > 0:
        worst = max(parts, key=lambda part: abs(part.delta))
        if sum(part.steps for part in parts) + 2 * half - worst.steps > settings.max_steps:
            break
        middle = (worst.start + worst.end) / 2 if worst.start else worst.end / 8
        parts.remove(worst)
        parts += [integral(worst.start, middle, half), integral(middle, worst.end, half)]
    return parts
