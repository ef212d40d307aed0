"""Line charts as inline SVG; colours come from the page, so that they fit light and dark."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from markupsafe import Markup

WIDTH, HEIGHT = 440, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 48, 12, 12, 40
_TICKS = 5
COLOURS = 8


@dataclass(frozen=True)
class Series:
    """One line of a chart.

    Attributes:
        name: In the legend.
        points: (x, y), in order of x.
        band: (x, low, high) around the line; may be empty.
        colour: Which of the page's `COLOURS` colours.
        marked: Whether points are drawn as dots.
        dashed: Whether the line is.
    """

    name: str
    points: Sequence[tuple[float, float]]
    band: Sequence[tuple[float, float, float]] = ()
    colour: int = 0
    marked: bool = False
    dashed: bool = False


@dataclass(frozen=True)
class _Scale:
    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> str:
        share = (value - self.low) / ((self.high - self.low) or 1.0)
        return f"{self.start + share * (self.end - self.start):.1f}"


def line_chart(title: str, series: Sequence[Series], *, x: str, y: str) -> Markup:
    """Return a chart as an SVG element with its legend beneath, text escaped.

    Args:
        title: Read aloud for those who cannot see it.
        series: At least one, none empty.
        x: The horizontal axis's name.
        y: The vertical axis's name.
    """
    xs = [px for one in series for px, _ in one.points]
    ys = [py for one in series for _, py in one.points]
    ys += [edge for one in series for _, low, high in one.band for edge in (low, high)]
    x_ticks, y_ticks = ticks(min(xs), max(xs)), ticks(min(ys), max(ys))
    across = _Scale(min(xs), max(xs), _LEFT, WIDTH - _RIGHT)
    up = _Scale(y_ticks[0], y_ticks[-1], HEIGHT - _BOTTOM, _TOP)
    x_ticks = [tick for tick in x_ticks if min(xs) <= tick <= max(xs)]
    body = [*_grid(x_ticks, y_ticks, across, up), *(_line(one, across, up) for one in series)]
    names = (
        f'<text class="axis" x="{(_LEFT + WIDTH - _RIGHT) / 2:.0f}" y="{HEIGHT - 6}" '
        f'text-anchor="middle">{escape(x)}</text>'
        f'<text class="axis" transform="translate(12 {(HEIGHT - _BOTTOM + _TOP) / 2:.0f}) '
        f'rotate(-90)" text-anchor="middle">{escape(y)}</text>'
    )
    return Markup(  # noqa: S704
        f'<svg class="chart" role="img" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'aria-label="{escape(title)}">{"".join(body)}{names}</svg>{_legend(series)}'
    )


def ticks(low: float, high: float) -> list[float]:
    """Return round values that cover `low` to `high`, about five of them."""
    if not high > low:
        low, high = low - 0.5, high + 0.5
    raw = (high - low) / (_TICKS - 1)
    magnitude = 10.0 ** math.floor(math.log10(raw))
    step = next(magnitude * one for one in (1, 2, 2.5, 5, 10) if magnitude * one >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(step * index, 10) for index in range(first, last + 1)]


def _grid(
    x_ticks: Sequence[float], y_ticks: Sequence[float], across: _Scale, up: _Scale
) -> list[str]:
    lines = [
        f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{up(tick)}" y2="{up(tick)}"/>'
        f'<text class="tick" x="{_LEFT - 6}" y="{up(tick)}" dy="0.32em" text-anchor="end">'
        f"{tick:g}</text>"
        for tick in y_ticks
    ]
    lines += [
        f'<text class="tick" x="{across(tick)}" y="{HEIGHT - _BOTTOM + 15}" text-anchor="middle">'
        f"{tick:g}</text>"
        for tick in x_ticks
    ]
    return lines


def _line(one: Series, across: _Scale, up: _Scale) -> str:
    path = " ".join(f"{across(x)},{up(y)}" for x, y in one.points)
    dash = ' stroke-dasharray="5 4"' if one.dashed else ""
    drawn = f'<polyline class="line c{one.colour}" points="{path}"{dash}/>'
    if one.band:
        upper = [f"{across(x)},{up(high)}" for x, _, high in one.band]
        lower = [f"{across(x)},{up(low)}" for x, low, _ in reversed(one.band)]
        drawn = f'<polygon class="band c{one.colour}" points="{" ".join(upper + lower)}"/>{drawn}'
    if one.marked or len(one.points) == 1:
        drawn += "".join(
            f'<circle class="dot c{one.colour}" cx="{across(x)}" cy="{up(y)}" r="3"/>'
            for x, y in one.points
        )
    return drawn


def _legend(series: Sequence[Series]) -> str:
    items = "".join(
        f'<li><span class="key c{one.colour}{" dashed" if one.dashed else ""}"></span>'
        f"{escape(one.name)}</li>"
        for one in series
    )
    return f'<ul class="legend">{items}</ul>'
