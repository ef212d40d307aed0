"""The report's pictures: learning curves, scores by prompt length, and the attention mask."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Sequence
from html import escape

import torch
from markupsafe import Markup

from ..fusion.visibility import VISIBILITIES, Role, attention_mask
from .chart import COLOURS, Series, line_chart
from .collect import read_losses
from .groups import Group, labels_of
from .paper import METHODS_IN_ORDER, length_figures
from .paper_tables import by_dataset, length_groups, main_groups, shots_rank

Figure = tuple[str, Markup]
"""A caption and an SVG element."""

POINTS = 60
"""Points a learning curve: each is the mean of the steps that it stands for."""

_MASK_SEGMENTS = (("prompt", 4), ("image", 1), ("text", 5))
_MASK_CAPTIONS = {
    "full": "PromptFuse (full): every position sees every position",
    "blind": "BlindPrompt (blind): the prompt sees only the prompt",
}
_CELL = 20


def learning_curves(groups: Sequence[Group]) -> list[Figure]:
    """Return one chart for each dataset and number of shots; a band spans the seeds."""
    found = []
    for part in by_dataset(groups):
        usual = main_groups(part)
        for shots in sorted({group.shots for group in usual}, key=shots_rank):
            chosen = [group for group in usual if group.shots == shots]
            series = _curves(chosen)
            if series:
                title = f"{part[0].first.record.dataset}, {chosen[0].shots_in_words}"
                chart = line_chart(title, series, x="step", y="training loss")
                found.append((title, chart))
    return found


def _curves(groups: Sequence[Group]) -> list[Series]:
    series = []
    for group, label in zip(groups, labels_of(groups), strict=True):
        seeds = [losses for one in group.results if (losses := read_losses(one.folder))]
        if not seeds:
            continue
        at_steps = _finite_steps([smoothed(losses, POINTS) for losses in seeds])
        points = [(step, statistics.fmean(losses)) for step, losses in at_steps]
        band = [(step, min(losses), max(losses)) for step, losses in at_steps]
        colour = _colour(group.method, len(series))
        again = any(one.colour == colour for one in series)
        if points:
            shown = band if len(seeds) > 1 else ()
            series.append(Series(label, points, shown, colour, dashed=again))
    return series


def _finite_steps(
    curves: Sequence[Sequence[tuple[float, float]]],
) -> list[tuple[float, list[float]]]:
    """Return each step with every seed's loss; steps at which one has diverged are left out."""
    steps = [(points[0][0], [loss for _, loss in points]) for points in zip(*curves, strict=False)]
    return [(step, losses) for step, losses in steps if all(map(math.isfinite, losses))]


def _colour(method: str, otherwise: int) -> int:
    known = method in METHODS_IN_ORDER
    return (METHODS_IN_ORDER.index(method) if known else otherwise) % COLOURS


def smoothed(losses: Sequence[float], points: int) -> list[tuple[float, float]]:
    """Return (last step, mean loss) of at most `points` equal parts of a run."""
    count = min(points, len(losses))
    edges = [round(index * len(losses) / count) for index in range(count + 1)]
    return [
        (float(end), statistics.fmean(losses[start:end]))
        for start, end in itertools.pairwise(edges)
    ]


def length_plots(groups: Sequence[Group]) -> list[Figure]:
    """Return a chart of score by prompt length for each dataset that has such runs (table 5)."""
    found = []
    for part in by_dataset(groups):
        chosen = length_groups(part)
        for shots in sorted({group.shots for group in chosen}, key=shots_rank):
            there = [group for group in chosen if group.shots == shots]
            series = _length_series(there)
            first = there[0].first
            if first.record.task == "vqa" and there[0].papers_setting:
                series += _papers_lengths()
            dataset = first.record.dataset + " in folds" * there[0].in_folds
            title = f"{dataset}, {there[0].shots_in_words}"
            chart = line_chart(title, series, x="prompt length", y=first.headline)
            found.append((title, chart))
    return found


def _length_series(groups: Sequence[Group]) -> list[Series]:
    series = []
    for method in dict.fromkeys(group.method for group in groups):
        own = sorted(
            (group for group in groups if group.method == method),
            key=lambda one: one.first.record.settings.prompt_length,
        )
        spreads = [
            (float(one.first.record.settings.prompt_length), one.spread(one.first.headline))
            for one in own
        ]
        there = [(length, spread) for length, spread in spreads if spread is not None]
        points = [(length, spread.mean) for length, spread in there]
        band = [
            (length, spread.mean - (spread.std or 0.0), spread.mean + (spread.std or 0.0))
            for length, spread in there
        ]
        series.append(Series(method, points, band, _colour(method, len(series)), marked=True))
    return series


def _papers_lengths() -> list[Series]:
    return [
        Series(
            f"the paper's {method}",
            [(float(length), value) for length, value in values.items()],
            colour=_colour(method, 0),
            marked=True,
            dashed=True,
        )
        for method, values in length_figures().items()
    ]


def mask_pictures() -> list[Figure]:
    """Return what sees what under full and blind visibility, drawn from the mask itself.

    Source: figure 2.
    """
    return [(caption, _mask(name)) for name, caption in _MASK_CAPTIONS.items()]


def _mask(visibility: str) -> Markup:
    """Return the mask of a short sequence as an SVG element, queries down, keys across."""
    roles: list[Role] = [
        "prompt" if name == "prompt" else "input"
        for name, size in _MASK_SEGMENTS
        for _ in range(size)
    ]
    present = torch.ones(1, len(roles), dtype=torch.bool)
    mask = attention_mask(roles, present, VISIBILITIES[visibility], dtype=torch.float32)[0, 0]
    margin, size = 64, len(roles) * _CELL
    cells = [
        f'<rect class="{_cell_class(roles[query], seen)}" x="{margin + key * _CELL + 1}" '
        f'y="{margin + query * _CELL + 1}" width="{_CELL - 2}" height="{_CELL - 2}" rx="3"/>'
        for query, row in enumerate((mask == 0).tolist())
        for key, seen in enumerate(row)
    ]
    return Markup(  # noqa: S704
        f'<svg class="mask" role="img" viewBox="0 0 {margin + size + 8} {margin + size + 8}" '
        f'aria-label="attention mask, {escape(visibility)}">'
        f"{''.join(cells)}{_mask_labels(margin)}</svg>"
    )


def _cell_class(role: Role, seen: bool) -> str:
    return f"sees {role}" if seen else "hidden-cell"


def _mask_labels(margin: int) -> str:
    drawn, position = [], 0
    for name, size in _MASK_SEGMENTS:
        middle = margin + (position + size / 2) * _CELL
        drawn.append(
            f'<text class="axis" x="{margin - 8}" y="{middle}" dy="0.32em" text-anchor="end">'
            f'{name}</text><text class="axis" transform="translate({middle} {margin - 8}) '
            f'rotate(-60)">{name}</text>'
        )
        position += size
    drawn.append(
        f'<text class="tick" x="{margin - 8}" y="{margin - 8}" text-anchor="end">sees →</text>'
    )
    return "".join(drawn)
