"""Which pixels, frames, samples and words an answer rests on: Integrated Gradients (table 3).

What is explained is one number: the log-odds of the first token that a method generates, its
log-probability less that of all others together (of the label that it answers, among the labels). A
logit alone would not do: a shift that all tokens share moves it and changes no answer. Nor would
the log-probability: of an answer that is near certain it hardly moves, and what is left to explain
is the small difference of large attributions.

All inputs go along one path together, from no signal to what they are. No signal is black pixels
(or another of `BASELINES`), silence, and the padding token's embedding in place of each token that
is not a special one; special tokens stay. The prompt is part of the model and stays too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import adaptive_avg_pool2d, interpolate

from ...cache.modalities import MODALITIES
from ...errors import UnknownName
from ..data.sources import padded_steps
from ..fusion.methods import Fusion
from ..fusion.parameters import Parameters
from ..live import TrainableEncoder
from ..plm.protocol import PLM, Encoded
from ..segments import embed_medium, fuse_segments, input_segments, text_segment

Tensors = tuple[torch.Tensor, ...]

_BLUR_CELLS = 4  # a side


def _black(pixels: torch.Tensor) -> torch.Tensor:
    return torch.zeros_like(pixels)


def _mean(pixels: torch.Tensor) -> torch.Tensor:
    return pixels.mean(dim=(-2, -1), keepdim=True).expand_as(pixels).contiguous()


def _blurred(pixels: torch.Tensor) -> torch.Tensor:
    frames = pixels.flatten(0, -4) if pixels.dim() > 3 else pixels[None]
    cells = adaptive_avg_pool2d(frames, _BLUR_CELLS)
    return interpolate(cells, pixels.shape[-2:], mode="bilinear").view_as(pixels)


BASELINES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "black": _black,
    "mean": _mean,
    "blur": _blurred,
}
"""What an image, or each frame, is when it shows nothing: black, its own mean colour, or its means
over 4 x 4 cells with smooth passages. Sound is always silence."""


def require_baseline(name: str) -> None:
    """Return if there is a baseline of that name.

    Raises:
        UnknownName: If there is none; the message lists them.
    """
    if name not in BASELINES:
        raise UnknownName("baseline", name, list(BASELINES))


@dataclass(frozen=True)
class LiveMedium:
    """A decoded medium and the encoder that it goes through.

    Attributes:
        modality: A name in `MODALITIES`.
        encoder: Differentiable.
        decoded: [C, H, W] or [F, C, H, W] pixel values from 0 to 255, or [S] samples from -1 to 1.
        width: The fixed map to the language model's width, or None where they agree.
    """

    modality: str
    encoder: TrainableEncoder
    decoded: torch.Tensor
    width: torch.Tensor | None = None

    @property
    def units(self) -> float:
        """Its size, in images of 224 x 224 pixels or seconds of sound at 16 kHz."""
        return self.decoded.numel() / MODALITIES[self.modality].unit_values

    def vectors(self, decoded: torch.Tensor) -> torch.Tensor:
        """Return [N, steps, W]: the encoder's vectors of N variants of it, a frame's in a row."""
        if not MODALITIES[self.modality].framed:
            vectors = self.encoder(decoded)
            return vectors[:, None] if vectors.dim() == 2 else vectors
        frames = self.encoder(decoded.flatten(0, 1)).unflatten(0, decoded.shape[:2])
        return frames.flatten(1, -2)

    def baseline(self, name: str) -> torch.Tensor:
        """Return the medium without a signal, in its own shape."""
        pictures = MODALITIES[self.modality].pictures
        return BASELINES[name](self.decoded) if pictures else _black(self.decoded)


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


@dataclass(frozen=True)
class Attribution:
    """What an answer's log-odds rest on; the attributions sum to its change, but for delta.

    Attributes:
        media: By modality, in the shape of the decoded medium, float32.
        tokens: [T] float32, each token's sum over its embedding; special tokens have 0.
        target: The explained token: its id, or the label's index among the labels.
        output: The log-odds.
        baseline_output: The same at the baseline.
        delta: The attributions' sum minus the change from baseline to input (completeness).
        steps: Points at which gradients were taken for these figures.
    """

    media: dict[str, torch.Tensor]
    tokens: torch.Tensor
    target: int
    output: float
    baseline_output: float
    delta: float
    steps: int

    @property
    def change(self) -> float:
        """How much the log-odds rose from the baseline to the input."""
        return self.output - self.baseline_output

    @property
    def relative_delta(self) -> float:
        """The size of the delta against the size of the change."""
        return abs(self.delta) / abs(self.change) if self.change else float("inf")


@dataclass(frozen=True)
class FusedAnswer:
    """A method's first answer token as a differentiable function of decoded media and tokens.

    Attributes:
        plm: The frozen language model, in float32.
        fusion: The method and its variant; its media are the encoder's.
        parameters: One run's, each [1, …].
        media: In the order of the fused sequence.
        text_ids: The text's token ids.
        choice_ids: The first tokens that compete: the labels', or by default all of them.
    """

    plm: PLM
    fusion: Fusion
    parameters: Parameters
    media: Sequence[LiveMedium]
    text_ids: Sequence[int]
    choice_ids: torch.Tensor | None = None

    def encoded(self, *inputs: torch.Tensor) -> Encoded:
        """Return what the language model makes of N variants of the media and the token vectors."""
        *media, tokens = inputs
        embedded = []
        for medium, decoded in zip(self.media, media, strict=True):
            vectors = medium.vectors(decoded).to(tokens)
            steps = padded_steps(vectors.unbind(), self.plm, width=medium.width)
            embedded.append(
                embed_medium(self.plm, self.fusion, steps, self.parameters, medium.modality)
            )
        texts = self.plm.pad([list(self.text_ids)] * len(tokens))
        text = text_segment(self.plm, texts, tokens)
        segments = input_segments(self.fusion, embedded, text, self.parameters)
        return fuse_segments(self.plm, self.fusion, self.parameters, segments)

    def logits(self, *inputs: torch.Tensor) -> torch.Tensor:
        """Return [N, choices]: of each first token, for N variants of the input."""
        choices = self.choice_ids
        if choices is None:
            choices = torch.arange(self.plm.token_vectors().shape[0], device=self.plm.device)
        return self.plm.label_logits(self.encoded(*inputs), choices)

    def log_odds(self, target: int, *inputs: torch.Tensor) -> torch.Tensor:
        """Return [N]: of one first token against all others, for N variants of the input."""
        logits = self.logits(*inputs)
        others = torch.cat([logits[:, :target], logits[:, target + 1 :]], dim=1)
        return logits[:, target] - others.logsumexp(dim=1)

    def inputs(self) -> Tensors:
        """Return the media and the token vectors as they are, each with a leading 1."""
        tokens = self.plm.token_vectors()[self._ids]
        return (*(medium.decoded[None].to(tokens.device) for medium in self.media), tokens[None])

    def baselines(self, name: str) -> Tensors:
        """Return what stands for no signal, as `inputs` gives the signal."""
        vectors, ids = self.plm.token_vectors(), self._ids
        tokenizer: Any = self.plm.tokenizer
        special = set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}  # a word not known
        kept = torch.isin(ids, ids.new_tensor(sorted(special)))
        padding = vectors[tokenizer.pad_token_id].expand(len(ids), -1)
        tokens = torch.where(kept[:, None], vectors[ids], padding)
        media = (medium.baseline(name)[None].to(tokens.device) for medium in self.media)
        return (*media, tokens[None])

    @property
    def _ids(self) -> torch.Tensor:
        return torch.tensor(self.text_ids, device=self.plm.device)


def attribute(
    answer: FusedAnswer,
    *,
    baseline: str = "black",
    integration: Integration | None = None,
    watch: Callable[[int], object] | None = None,
) -> Attribution:
    """Return what the first token that a method answers rests on.

    Args:
        answer: The method and its input.
        baseline: A name in `BASELINES`.
        integration: How finely the path is walked.
        watch: Called before each forward pass with how many points of the path are in it.

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

    change = abs(output - baseline_output)
    settings = integration or Integration()
    rows = max(1, int(settings.units / sum(medium.units for medium in answer.media)))
    path = _walk(explained, baselines, inputs, change, settings, rows=rows)
    *media, tokens = (part[0].cpu() for part in path.attributions())
    return Attribution(
        media={medium.modality: part for medium, part in zip(answer.media, media, strict=True)},
        tokens=tokens.sum(dim=1),
        target=target,
        output=output,
        baseline_output=baseline_output,
        delta=float(sum(float(part.sum(dtype=torch.float64)) for part in (*media, tokens)))
        - (output - baseline_output),
        steps=path.steps,
    )


@dataclass(frozen=True)
class _Part:
    """The integral over a part of the straight path, `[start, end)` of its whole."""

    start: float
    end: float
    attributions: Tensors
    delta: float
    steps: int


@dataclass(frozen=True)
class _Path:
    parts: list[_Part]

    @property
    def steps(self) -> int:
        return sum(part.steps for part in self.parts)

    def attributions(self) -> Tensors:
        """Return the sums over the parts: on one straight line the integrals add up."""
        parts = zip(*(part.attributions for part in self.parts), strict=True)
        return tuple(torch.stack(part).sum(dim=0) for part in parts)


def _walk(
    explained: Callable[..., torch.Tensor],
    baselines: Tensors,
    inputs: Tensors,
    change: float,
    settings: Integration,
    *,
    rows: int,
) -> _Path:
    """Return the integral along the path, cut where its own delta is largest until it converges.

    An encoder that brings its input to unit variance turns all at once just after silence: equal
    steps would have to be thousands to see it. A part that begins there is cut at an eighth, any
    other in halves.
    """

    def integral(start: float, end: float, steps: int) -> _Part:
        from captum.attr import IntegratedGradients

        points = [
            tuple(b + share * (x - b) for b, x in zip(baselines, inputs, strict=True))
            for share in (start, end)
        ]
        attributions, delta = IntegratedGradients(explained).attribute(
            points[1],
            points[0],
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
    return _Path(parts)
