"""The picture of an explained example: its media under their maps, its words in colour.

Drawn with matplotlib's objects alone, so that nothing global is touched.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..explain.explanation import ExplainedMethod, Explanation, Pictured

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

_DPI = 120
# in inches
_MARGIN, _TOP, _BOTTOM = 0.2, 0.75, 0.5
_TILE, _FRAME, _WAVE, _LEAST = 1.85, 0.84, 0.75, 1.5
_WORDS, _GAP, _BETWEEN = 3.4, 0.15, 0.05

_FRAMES_SHOWN = 8
_SLICES = 200  # of a sound, across its width
_FULL_AT = 99.5  # the percentile of a map's sizes that has the full colour


@dataclass(frozen=True)
class Theme:
    """The colours of a picture, those of the page that it stands in."""

    paper: str
    ink: str
    soft: str
    good: str
    bad: str
    rule: str
    raises: str
    lowers: str
    dark: bool

    @property
    def colours(self) -> Colormap:
        """From blue at 0 over the paper's colour to red at 1."""
        from matplotlib.colors import LinearSegmentedColormap

        return LinearSegmentedColormap.from_list(
            "lowers-raises", [self.lowers, self.paper, self.raises], 511
        )


LIGHT = Theme(
    "#ffffff",
    "#1d2330",
    "#5d6676",
    "#1f7a4d",
    "#b3372f",
    "#d5d2c8",
    "#b2182b",
    "#2166ac",
    dark=False,
)
DARK = Theme(
    "#1b1f27",
    "#e6e8ee",
    "#9aa3b2",
    "#6fcf9b",
    "#ff8f85",
    "#3a4250",
    "#d6404f",
    "#3f86cf",
    dark=True,
)


def draw_explanation(explanation: Explanation, pictured: Pictured, *, dark: bool = False) -> bytes:
    """Return a PNG: a row a method, its media and their maps, what it answered and its words."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    theme = DARK if dark else LIGHT
    sizes = [_size(medium) for medium in pictured.media.values()]
    wide = max(width for width, _ in sizes)
    heights = [height for _, height in sizes]
    row = max(sum(heights) + _GAP * len(heights), _LEAST)
    width = wide + _GAP + _WORDS + 2 * _MARGIN
    height = _TOP + row * len(explanation.methods) + _BOTTOM
    figure = Figure(figsize=(width, height), dpi=_DPI, facecolor=theme.paper)
    canvas = FigureCanvasAgg(figure)
    for index, method in enumerate(explanation.methods):
        top = _TOP + index * row
        words = _axes(figure, _MARGIN + wide + _GAP, top, _WORDS, row)
        _answer(words, method, explanation.truth, theme)
        for (name, medium), high in zip(pictured.media.items(), heights, strict=True):
            drawn = pictured.maps[method.method][name]
            if medium.ndim == 1:
                wave = _axes(figure, _MARGIN, top, wide, high)
                _wave(wave, medium, drawn, pictured.sample_rate_hz, theme)
            else:
                _tiles(figure, top, medium, drawn, theme)
            top += high + _GAP
    _around(figure, explanation, theme)
    file = io.BytesIO()
    canvas.print_png(file, pil_kwargs={"optimize": True})
    return file.getvalue()


def _size(medium: np.ndarray) -> tuple[float, float]:
    """Return the width and height of a medium with its map, in inches."""
    if medium.ndim == 1:
        return 4.0, _WAVE
    if medium.ndim == 3:
        return 2 * _TILE, _TILE
    return min(len(medium), _FRAMES_SHOWN) * _FRAME, 2 * _FRAME


def _axes(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Return a part of a figure, in inches from its upper left corner."""
    wide, high = figure.get_size_inches()
    axes = figure.add_axes((left / wide, 1 - (top + height) / high, width / wide, height / high))
    axes.set_axis_off()
    return axes


def _tiles(figure: Figure, top: float, medium: np.ndarray, drawn: np.ndarray, theme: Theme) -> None:
    """Draw an image beside its map, or frames above theirs; small ones are enlarged smoothly."""
    if medium.ndim == 3:
        frames, maps, side, right, down = medium[None], drawn[None], _TILE, _TILE, 0.0
    else:
        count = min(len(medium), _FRAMES_SHOWN)
        shown = np.linspace(0, len(medium) - 1, count).round().astype(int)
        frames, maps, side, right, down = medium[shown], drawn[shown], _FRAME, 0.0, _FRAME
    shares = np.clip(maps / _limit(drawn), -1, 1)
    for column, (pixels, share) in enumerate(zip(frames, shares, strict=True)):
        left, edge = _MARGIN + column * side, side - _BETWEEN
        _axes(figure, left, top, edge, edge).imshow(pixels, interpolation="bicubic")
        grey = pixels.mean(axis=-1)
        faded = 0.45 * grey if theme.dark else 255 - 0.35 * (255 - grey)
        axes = _axes(figure, left + right, top + down, edge, edge)
        axes.imshow(faded, cmap="gray", vmin=0, vmax=255, interpolation="bicubic")
        axes.imshow(share, cmap=theme.colours, vmin=-1, vmax=1, alpha=np.abs(share) ** 0.6)


def _limit(values: np.ndarray) -> float:
    """Return the size that has the full colour: nearly the largest, so that few points rule."""
    return float(np.percentile(np.abs(values), _FULL_AT)) or 1.0


def _wave(
    axes: Axes, samples: np.ndarray, drawn: np.ndarray, rate_hz: int | None, theme: Theme
) -> None:
    """Draw a sound's outline, each slice in the colour of its attributions' sum."""
    edges = np.linspace(0, len(samples), min(_SLICES, len(samples)) + 1).round().astype(int)
    sums = np.add.reduceat(drawn, edges[:-1])
    low, high = (reduce.reduceat(samples, edges[:-1]) for reduce in (np.minimum, np.maximum))
    share = np.clip(sums / _limit(sums), -1, 1)
    # moved away from the paper's colour, in which nothing would be seen
    share = np.copysign(0.25 + 0.75 * np.abs(share), share)
    least = 0.01 * max(float(np.abs(samples).max()), 1e-6)
    axes.axhline(0, color=theme.rule, linewidth=0.6, zorder=0)
    axes.bar(
        edges[:-1],
        np.maximum(high - low, least),
        np.diff(edges),
        bottom=low,
        align="edge",
        color=theme.colours((share + 1) / 2),
    )
    axes.set_xlim(0, len(samples))
    if rate_hz:
        seconds = f"sound, {len(samples) / rate_hz:.1f} s"
        axes.set_title(seconds, fontsize=6, color=theme.soft, pad=1)


def _write(axes: Axes, left: float, top: float, text: str, **style: Any) -> Any:
    """Write plain text, in inches from the upper left corner; no part is taken for mathematics."""
    return axes.annotate(
        text,
        (0, 1),
        xycoords="axes fraction",
        xytext=(72 * left, -72 * top),
        textcoords="offset points",
        va="top",
        annotation_clip=False,
        parse_math=False,
        **style,
    )


def _width(written: Any) -> float:
    return written.get_window_extent().width / _DPI


def _short(text: str, most: int) -> str:
    text = " ".join(text.split())
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _answer(axes: Axes, method: ExplainedMethod, truth: str | None, theme: Theme) -> None:
    name = _write(axes, 0, 0, method.method, fontsize=10, fontweight="bold", color=theme.ink)
    known = theme.good if method.answer == truth else theme.bad
    colour = theme.ink if truth is None else known
    answer = f"answers {_short(method.answer, 32)!r}"
    _write(axes, _width(name) + 0.12, 0.01, answer, fontsize=9, color=colour)
    rise = f"{method.baseline_output:.2f} → {method.output:.2f}"
    parts = [*method.media.items(), ("text", sum(value for _, value in method.tokens))]
    delta = f"delta {100 * method.relative_delta:.2g} % of the change, {method.steps} steps"
    lines = (
        (f"log-odds of {method.first_token!r}: {rise}", theme.soft),
        (delta, theme.soft if method.converged else theme.bad),
        (" · ".join(f"{name} {value:+.2f}" for name, value in parts), theme.soft),
    )
    for place, (line, colour) in enumerate(lines):
        _write(axes, 0, 0.22 + 0.15 * place, line, fontsize=7.5, color=colour)
    _words(axes, method, theme, top=0.82)


def _words(axes: Axes, method: ExplainedMethod, theme: Theme, *, top: float) -> None:
    """Draw the words as boxes, wrapped."""
    left = 0.0
    for word, _, share in method.shares:
        box = {
            "boxstyle": "round,pad=0.25",
            "facecolor": theme.colours((share + 1) / 2),
            "edgecolor": theme.rule,
            "linewidth": 0.5,
        }
        colour = "white" if abs(share) > 0.6 else theme.ink
        written = _write(
            axes, left + 0.05, top, _short(word, 24), fontsize=8.5, color=colour, bbox=box
        )
        wide = _width(written) + 0.13
        if left + wide > _WORDS and left > 0:
            left, top = 0.0, top + 0.25
            written.xyann = (72 * 0.05, -72 * top)
        left += wide


def _around(figure: Figure, explanation: Explanation, theme: Theme) -> None:
    """Write what was asked above the rows, and what the colours say beneath."""
    width, height = figure.get_size_inches()
    page = _axes(figure, 0, 0, width, height)
    heading = _short(explanation.text, 90)
    _write(page, _MARGIN, 0.14, heading, fontsize=11, fontweight="bold", color=theme.ink)
    truth = "" if explanation.truth is None else f" · truth: {explanation.truth}"
    line = f"{explanation.dataset} {explanation.split} {explanation.example}{truth}"
    _write(page, _MARGIN, 0.42, _short(line, 120), fontsize=8, color=theme.soft)
    top = height - 0.4
    bar = _axes(figure, _MARGIN, top, 1.6, 0.1)
    bar.imshow(np.linspace(-1, 1, 128)[None], cmap=theme.colours, aspect="auto")
    about = (
        "Integrated Gradients of the log-odds of the first answer token, from no signal to "
        "the input.\nEach method and medium has its own scale, symmetric about zero."
    )
    small: dict[str, Any] = {"fontsize": 7, "color": theme.soft}
    _write(page, _MARGIN, top + 0.13, "lowers", **small)
    _write(page, _MARGIN + 1.6, top + 0.13, "raises", ha="right", **small)
    _write(page, _MARGIN + 1.8, top - 0.04, about, linespacing=1.3, **small)
