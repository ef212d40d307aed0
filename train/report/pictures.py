"""The report's pictures: learning curves, scores by prompt length, and the attention mask.

Inline SVG whose colours come from the page, so that they fit light and dark.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..fusion.visibility import VISIBILITIES, Role, attention_mask
from .collect import read_losses
from .groups import Group, labels_of, shots_rank
from .pages import inline
from .paper import method_rank, paper_table
from .paper_tables import by_dataset, by_headline, length_groups, main_groups, papers_figures

if TYPE_CHECKING:
    from markupsafe import Markup

Figure = tuple[str, "Markup"]
"""A caption and an SVG element."""

POINTS = 60
"""Points a learning curve: each is the mean of the steps that it stands for."""

_MASK_SEGMENTS = (("prompt", 4), ("image", 1), ("text", 5))
_MASK_CAPTIONS = {
    "full": "PromptFuse (full): every position sees every position",
    "blind": "BlindPrompt (blind): the prompt sees only the prompt",
}

COLOURS = 8
_WIDTH, _HEIGHT = 440, 260
_BOX = SimpleNamespace(left=48, right=_WIDTH - 12, top=12, bottom=_HEIGHT - 40)
_TICKS = 5


@dataclass(frozen=True)
class Series:
    """One line of a chart.

    Attributes:
        name: In the legend.
        points: (x, y), in order of x.
        band: (x, low, high) around the line; may be empty.
        colour: Which of the page's `COLOURS` colours.
        marked: Whether points are drawn as dots; a single one always is.
        dashed: Whether the line is.
    """

    name: str
    points: Sequence[tuple[float, float]]
    band: Sequence[tuple[float, float, float]] = ()
    colour: int = 0
    marked: bool = False
    dashed: bool = False


def line_chart(title: str, series: Sequence[Series], *, x: str, y: str) -> Markup:
    """Return a chart as an SVG element with its legend beneath.

    Args:
        title: Read aloud for those who cannot see it.
        series: At least one, none empty.
        x: The horizontal axis's name.
        y: The vertical axis's name.
    """
    xs = [at for line in series for at, _ in line.points]
    ys = [at for line in series for _, at in line.points]
    ys += [edge for line in series for _, low, high in line.band for edge in (low, high)]
    y_ticks = ticks(min(ys), max(ys))

    def across(value: float) -> str:
        return _placed(value, (min(xs), max(xs)), (_BOX.left, _BOX.right))

    def up(value: float) -> str:
        return _placed(value, (y_ticks[0], y_ticks[-1]), (_BOX.bottom, _BOX.top))

    def edges(line: Series) -> list[str]:
        upper = [f"{across(at)},{up(high)}" for at, _, high in line.band]
        return upper + [f"{across(at)},{up(low)}" for at, low, _ in reversed(line.band)]

    inside = [tick for tick in ticks(min(xs), max(xs)) if min(xs) <= tick <= max(xs)]
    return inline(
        "chart.svg.j2",
        title=title,
        x=x,
        y=y,
        width=_WIDTH,
        height=_HEIGHT,
        box=_BOX,
        acrosses=[(across(tick), f"{tick:g}") for tick in inside],
        ups=[(up(tick), f"{tick:g}") for tick in y_ticks],
        lines=[
            (line, [f"{across(at)},{up(value)}" for at, value in line.points], edges(line))
            for line in series
        ],
    )


def _placed(value: float, values: tuple[float, float], pixels: tuple[float, float]) -> str:
    share = (value - values[0]) / ((values[1] - values[0]) or 1.0)
    return f"{pixels[0] + share * (pixels[1] - pixels[0]):.1f}"


def ticks(low: float, high: float) -> list[float]:
    """Return round values that cover `low` to `high`, about five of them."""
    if not high > low:
        low, high = low - 0.5, high + 0.5
    raw = (high - low) / (_TICKS - 1)
    magnitude = 10.0 ** math.floor(math.log10(raw))
    steps = (magnitude * factor for factor in (1, 2, 2.5, 5, 10))
    step = next(step for step in steps if step >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(step * index, 10) for index in range(first, last + 1)]


def learning_curves(groups: Sequence[Group]) -> list[Figure]:
    """Return one chart for each dataset and number of shots; a band spans the seeds."""
    figures = []
    for part in by_dataset(groups):
        for title, alike in _by_shots(main_groups(part)):
            series = _curves(alike)
            if series:
                chart = line_chart(title, series, x="step", y="training loss")
                figures.append((title, chart))
    return figures


def _by_shots(groups: Sequence[Group]) -> list[tuple[str, list[Group]]]:
    """Return the groups of each number of shots, with a caption."""
    parts = []
    for shots in sorted({group.shots for group in groups}, key=shots_rank):
        alike = [group for group in groups if group.shots == shots]
        dataset = alike[0].first.record.dataset + " in folds" * alike[0].in_folds
        parts.append((f"{dataset}, {alike[0].shots_in_words}", alike))
    return parts


def _curves(groups: Sequence[Group]) -> list[Series]:
    series: list[Series] = []
    for group, label in zip(groups, labels_of(groups), strict=True):
        curves = [smoothed(losses) for run in group.results if (losses := read_losses(run.folder))]
        steps = [(points[0][0], [loss for _, loss in points]) for points in zip(*curves)]  # noqa: B905
        # steps at which a seed has diverged are left out
        finite = [(step, losses) for step, losses in steps if all(map(math.isfinite, losses))]
        if not finite:
            continue
        points = [(step, statistics.fmean(losses)) for step, losses in finite]
        band = [(step, min(losses), max(losses)) for step, losses in finite]
        colour = _colour(group.method)
        again = any(line.colour == colour for line in series)
        series.append(Series(label, points, band * (len(curves) > 1), colour, dashed=again))
    return series


def _colour(method: str) -> int:
    return (method_rank(method) + 1) % COLOURS


def smoothed(losses: Sequence[float], points: int = POINTS) -> list[tuple[float, float]]:
    """Return (last step, mean loss) of at most `points` equal parts of a run."""
    parts = np.array_split(np.asarray(losses), min(points, len(losses)))
    ends = np.cumsum([len(part) for part in parts])
    return [(float(end), float(part.mean())) for end, part in zip(ends, parts, strict=True)]


def length_plots(groups: Sequence[Group]) -> list[Figure]:
    """Return a chart of score by prompt length for each dataset that has such runs (table 5)."""
    figures = []
    for part in by_headline(groups):
        for title, alike in _by_shots(length_groups(part)):
            series = [
                _by_length(name, [group for group in alike if group.method == name])
                for name in dict.fromkeys(group.method for group in alike)
            ]
            if all(papers_figures(5, group) for group in alike):
                series += _papers_lengths()
            chart = line_chart(title, series, x="prompt length", y=alike[0].first.headline)
            figures.append((title, chart))
    return figures


def _by_length(method: str, groups: Sequence[Group]) -> Series:
    points, band = [], []
    for group in sorted(groups, key=lambda group: group.first.settings.prompt_length):
        length = float(group.first.settings.prompt_length)
        spread = group.spread(group.first.headline)
        if spread is not None:
            std = spread.std or 0.0
            points.append((length, spread.mean))
            band.append((length, spread.mean - std, spread.mean + std))
    return Series(method, points, band, _colour(method), marked=True)


def _papers_lengths() -> list[Series]:
    rows = paper_table(5).rows
    return [
        Series(
            f"the paper's {method}",
            [(float(length), figure.mean) for length, name, figure in rows if name == method],
            colour=_colour(method),
            marked=True,
            dashed=True,
        )
        for method in dict.fromkeys(name for _, name, _ in rows)
    ]


def mask_pictures() -> list[Figure]:
    """Return what sees what under full and blind visibility, drawn from the mask itself.

    Source: figure 2.
    """
    return [(caption, _mask(name)) for name, caption in _MASK_CAPTIONS.items()]


def _mask(visibility: str) -> Markup:
    """Return the mask of a short sequence as an SVG element, queries down, keys across."""
    roles: list[Role] = []
    segments = []
    for name, size in _MASK_SEGMENTS:
        segments.append((name, len(roles) + size / 2))
        role: Role = "prompt" if name == "prompt" else "input"
        roles.extend(role for _ in range(size))
    present = torch.ones(1, len(roles), dtype=torch.bool)
    mask = attention_mask(roles, present, VISIBILITIES[visibility], dtype=torch.float32)[0, 0]
    seen = (mask == 0).tolist()
    return inline("mask.svg.j2", visibility=visibility, roles=roles, seen=seen, segments=segments)
