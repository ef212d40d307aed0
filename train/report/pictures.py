"""The report's pictures: learning curves, scores by prompt length, and the attention mask.

Inline SVG whose colours come from the page, so that they fit light and dark.
"""

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import torch

from ..fusion.visibility import VISIBILITIES, Role, attention_mask
from .collect import read_losses
from .groups import Group, grouped, labels_of, shots_rank
from .pages import render
from .paper import method_rank, paper_table
from .paper_tables import by_dataset, by_headline, length_groups, main_groups, papers_figures

Figure = tuple[str, str]
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


@dataclass(frozen=True)
class Series:
    """One line of a chart: its points (x, y) in order of x, and a band (x, low, high) around it.

    Attributes:
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


def line_chart(title: str, series: Sequence[Series], *, x: str, y: str) -> str:
    """Return a chart as an SVG element with its legend beneath; no series may be empty.

    The title is read aloud for those who cannot see it; `x` and `y` name the axes.
    """
    xs = [at for line in series for at, _ in line.points]
    ys = [at for line in series for _, at in line.points]
    ys += [edge for line in series for _, low, high in line.band for edge in (low, high)]
    first, last, y_ticks = min(xs), max(xs), ticks(min(ys), max(ys))

    def across(value: float) -> str:
        share = (value - first) / ((last - first) or 1.0)
        return f"{_BOX.left + share * (_BOX.right - _BOX.left):.1f}"

    def up(value: float) -> str:
        share = (value - y_ticks[0]) / (y_ticks[-1] - y_ticks[0])
        return f"{_BOX.bottom - share * (_BOX.bottom - _BOX.top):.1f}"

    def placed(points: Sequence[tuple[float, float]]) -> list[str]:
        return [f"{across(at)},{up(value)}" for at, value in points]

    def edges(line: Series) -> list[tuple[float, float]]:
        upper = [(at, high) for at, _, high in line.band]
        return upper + [(at, low) for at, low, _ in reversed(line.band)]

    return render(
        "chart.svg.j2",
        title=title,
        x=x,
        y=y,
        width=_WIDTH,
        height=_HEIGHT,
        box=_BOX,
        acrosses=[
            (across(tick), f"{tick:g}") for tick in ticks(first, last) if first <= tick <= last
        ],
        ups=[(up(tick), f"{tick:g}") for tick in y_ticks],
        lines=[(line, placed(line.points), placed(edges(line))) for line in series],
    )


def ticks(low: float, high: float) -> list[float]:
    """Return round values that cover `low` to `high`, about five of them."""
    from matplotlib.ticker import MaxNLocator

    if not high > low:
        low, high = low - 0.5, high + 0.5
    locator = MaxNLocator(4, steps=[1, 2, 2.5, 5, 10])
    return np.round(locator.tick_values(low, high), 10).tolist()


def learning_curves(groups: Sequence[Group]) -> list[Figure]:
    """Return one chart for each dataset and number of shots; a band spans the seeds."""
    return [
        figure
        for part in by_dataset(groups)
        for figure in _charts(main_groups(part), _curves, x="step", y="training loss")
    ]


def length_plots(groups: Sequence[Group]) -> list[Figure]:
    """Return a chart of score by prompt length for each dataset that has such runs (table 5)."""
    return [
        figure
        for part in by_headline(groups)
        for figure in _charts(
            length_groups(part), _by_length, x="prompt length", y=part[0].first.headline
        )
    ]


def _charts(
    groups: Sequence[Group], drawn: Callable[[Sequence[Group]], list[Series]], *, x: str, y: str
) -> list[Figure]:
    """Return what is `drawn` of the groups of each number of shots, with a caption."""
    figures = []
    ranked = sorted(groups, key=lambda group: shots_rank(group.shots))
    for alike in grouped(ranked, lambda group: group.shots):
        dataset = alike[0].first.record.dataset + " in folds" * alike[0].in_folds
        title = f"{dataset}, {alike[0].shots_in_words}"
        if series := drawn(alike):
            figures.append((title, line_chart(title, series, x=x, y=y)))
    return figures


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


def _by_length(groups: Sequence[Group]) -> list[Series]:
    """Return a line a method, and the paper's where all groups are of its setting."""
    series = []
    for alike in grouped(groups, lambda group: group.method):
        method = alike[0].method
        spreads = sorted(
            (float(group.first.settings.prompt_length), spread.mean, spread.std or 0.0)
            for group in alike
            if (spread := group.spread(group.first.headline)) is not None
        )
        points = [(length, mean) for length, mean, _ in spreads]
        band = [(length, mean - std, mean + std) for length, mean, std in spreads]
        series.append(Series(method, points, band, _colour(method), marked=True))
    if not all(papers_figures(5, group) for group in groups):
        return series
    for rows in grouped(paper_table(5).rows, lambda row: row[1]):
        points = [(float(length), figure.mean) for length, _, figure in rows]
        name, colour = f"the paper's {rows[0][1]}", _colour(rows[0][1])
        series.append(Series(name, points, colour=colour, marked=True, dashed=True))
    return series


def mask_pictures() -> list[Figure]:
    """Return what sees what under full and blind visibility, drawn from the mask itself.

    Source: figure 2.
    """
    return [(caption, _mask(name)) for name, caption in _MASK_CAPTIONS.items()]


def _mask(visibility: str) -> str:
    """Return the mask of a short sequence as an SVG element, queries down, keys across."""
    roles: list[Role] = []
    segments = []
    for name, size in _MASK_SEGMENTS:
        segments.append((name, len(roles) + size / 2))
        role: Role = "prompt" if name == "prompt" else "input"
        roles.extend(role for _ in range(size))
    prompt = torch.tensor([role == "prompt" for role in roles])
    present = torch.ones(1, len(roles), dtype=torch.bool)
    mask = attention_mask(prompt, present, VISIBILITIES[visibility], dtype=torch.float32)
    seen = (mask == 0).expand(1, 1, len(roles), len(roles))[0, 0].tolist()
    return render("mask.svg.j2", visibility=visibility, roles=roles, seen=seen, segments=segments)
