"""Line charts as inline SVG; colours come from the page, so that they fit light and dark."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING

from .pages import inline

if TYPE_CHECKING:
    from markupsafe import Markup

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
