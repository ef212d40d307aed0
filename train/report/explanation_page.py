"""An explained example drawn and written: two pictures, a page, and what the report shows of it.

Drawn with matplotlib's objects alone, so that nothing global is touched.
"""

from __future__ import annotations

import io
import json
import re
import textwrap
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...cache.atomic import make_folder, write_atomic
from ..explain.explanation import (
    DARK_PICTURE,
    FIGURES,
    MAPS,
    PAGE,
    PICTURE,
    ExplainedMethod,
    Explanation,
    Pictured,
    read_explanation,
)
from .pages import Picture, asset, render

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap

ABOUT = (
    "Integrated Gradients of the log-odds of each method's first answer token, from no "
    "signal to the input. Red raises it, blue lowers it; each method and medium has its own scale, "
    "symmetric about zero."
)

_DPI = 120
# in inches
_MARGIN, _TOP, _BOTTOM = 0.2, 0.75, 0.5
_TILE, _FRAME, _WAVE, _LEAST = 1.85, 0.84, 0.75, 1.5
_WORDS, _GAP, _BETWEEN = 3.4, 0.15, 0.05

_FRAMES_SHOWN = 8
_SLICES = 200  # of a sound, across its width
_FULL_AT = 99.5  # the percentile of a map's sizes that has the full colour


@dataclass(frozen=True)
class ShownExplanation:
    """What a page shows of an explained example: its figures, and its maps on either ground."""

    explanation: Explanation
    light: Picture
    dark: Picture


def write_explanation(folder: Path, explanation: Explanation, pictured: Pictured) -> None:
    """Write an example's folder; the figures come last, so that what they name is there."""
    from safetensors.numpy import save

    make_folder(folder)
    maps = {
        f"{method}/{modality}": np.ascontiguousarray(values, dtype=np.float32)
        for method, by_modality in pictured.maps.items()
        for modality, values in by_modality.items()
    }
    write_atomic(folder / MAPS, save(maps, {"example": explanation.example}))
    light, dark = (draw_explanation(explanation, pictured, dark=dark) for dark in (False, True))
    write_atomic(folder / PICTURE, light)
    write_atomic(folder / DARK_PICTURE, dark)
    shown = ShownExplanation(explanation, Picture.of_png(light), Picture.of_png(dark))
    write_atomic(folder / PAGE, explanation_page(shown))
    write_atomic(folder / FIGURES, json.dumps(asdict(explanation), indent=1) + "\n")


def read_shown(folder: Path) -> ShownExplanation:
    """Return what a page shows of the example explained in a folder."""
    light, dark = (Picture.of_png((folder / name).read_bytes()) for name in (PICTURE, DARK_PICTURE))
    return ShownExplanation(read_explanation(folder), light, dark)


def explanation_page(shown: ShownExplanation) -> str:
    """Return the page of one example as a whole HTML document."""
    return render("explanation.html.j2", shown=shown, about=ABOUT)


def page_colours(*, dark: bool) -> dict[str, str]:
    """Return the colours of the page's style sheet by name."""
    themes = re.findall(r":root \{(.*?)\}", asset("page.css"), re.DOTALL)
    return dict(re.findall(r"--(\w+): (#\w+)", themes[dark]))


def colour_map(colours: dict[str, str]) -> Colormap:
    """Return the map from blue at 0 over a card's colour to red at 1."""
    from matplotlib.colors import LinearSegmentedColormap

    ends = [colours["lowers"], colours["card"], colours["raises"]]
    return LinearSegmentedColormap.from_list("lowers-raises", ends, 511)


def draw_explanation(explanation: Explanation, pictured: Pictured, *, dark: bool = False) -> bytes:
    """Return a PNG: a row a method, its media and their maps, what it answered and its words."""
    sizes = [_size(medium) for medium in pictured.media.values()]
    wide = max(width for width, _ in sizes)
    row = max(sum(height + _GAP for _, height in sizes), _LEAST)
    width = wide + _GAP + _WORDS + 2 * _MARGIN
    drawing = _Drawing(width, _TOP + row * len(explanation.methods) + _BOTTOM, dark=dark)
    for index, method in enumerate(explanation.methods):
        top = _TOP + index * row
        drawing.answer(_MARGIN + wide + _GAP, top, method, explanation.truth)
        for (name, medium), (_, high) in zip(pictured.media.items(), sizes, strict=True):
            drawn = pictured.maps[method.method][name]
            if medium.ndim == 1:
                wave = drawing.axes(_MARGIN, top, wide, high)
                drawing.wave(wave, medium, drawn, pictured.sample_rate_hz)
            else:
                drawing.tiles(top, medium, drawn)
            top += high + _GAP
    drawing.around(explanation)
    file = io.BytesIO()
    drawing.figure.savefig(file, format="png", pil_kwargs={"optimize": True})
    return file.getvalue()


def _size(medium: np.ndarray) -> tuple[float, float]:
    """Return the width and height of a medium with its map, in inches."""
    if medium.ndim == 1:
        return 4.0, _WAVE
    if medium.ndim == 3:
        return 2 * _TILE, _TILE
    return min(len(medium), _FRAMES_SHOWN) * _FRAME, 2 * _FRAME


def _shares(values: np.ndarray) -> np.ndarray:
    """Return values in [-1, 1]; nearly the largest has the full colour, so that few points rule."""
    return np.clip(values / (np.percentile(np.abs(values), _FULL_AT) or 1.0), -1, 1)


def _short(text: str, most: int) -> str:
    text = " ".join(text.split())
    return text if len(text) <= most else f"{text[: most - 1]}…"


class _Drawing:
    """A figure on a light or dark ground; places are in inches from its upper left corner."""

    def __init__(self, width: float, height: float, *, dark: bool) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        self.dark, self.colours = dark, page_colours(dark=dark)
        self.map = colour_map(self.colours)
        self.width, self.height = width, height
        self.figure = Figure((width, height), _DPI, facecolor=self.colours["card"])
        FigureCanvasAgg(self.figure)

    def axes(self, left: float, top: float, wide: float, high: float) -> Axes:
        x, y = left / self.width, 1 - (top + high) / self.height
        axes = self.figure.add_axes((x, y, wide / self.width, high / self.height))
        axes.set_axis_off()
        return axes

    def write(
        self, left: float, top: float, text: str, *, colour: str = "ink", **style: Any
    ) -> Any:
        """Write plain text in a colour of the page; no part is taken for mathematics."""
        return self.figure.text(
            left,
            self.height - top,
            text,
            transform=self.figure.dpi_scale_trans,
            va="top",
            color=self.colours.get(colour, colour),
            parse_math=False,
            **style,
        )

    def tiles(self, top: float, medium: np.ndarray, drawn: np.ndarray) -> None:
        """Draw an image beside its map, or frames above theirs; enlarge small ones smoothly."""
        maps = _shares(drawn)
        if medium.ndim == 3:
            frames, maps, side, right, down = medium[None], maps[None], _TILE, _TILE, 0.0
        else:
            count = min(len(medium), _FRAMES_SHOWN)
            shown = np.linspace(0, len(medium) - 1, count).round().astype(int)
            frames, maps, side, right, down = medium[shown], maps[shown], _FRAME, 0.0, _FRAME
        for column, (pixels, share) in enumerate(zip(frames, maps, strict=True)):
            left, edge = _MARGIN + column * side, side - _BETWEEN
            self.axes(left, top, edge, edge).imshow(pixels, interpolation="bicubic")
            grey = pixels.mean(axis=-1)
            faded = 0.45 * grey if self.dark else 255 - 0.35 * (255 - grey)
            axes = self.axes(left + right, top + down, edge, edge)
            axes.imshow(faded, cmap="gray", vmin=0, vmax=255, interpolation="bicubic")
            axes.imshow(share, cmap=self.map, vmin=-1, vmax=1, alpha=np.abs(share) ** 0.6)

    def wave(self, axes: Axes, samples: np.ndarray, drawn: np.ndarray, rate_hz: int | None) -> None:
        """Draw a sound's outline, each slice in the colour of its attributions' sum."""
        edges = np.linspace(0, len(samples), min(_SLICES, len(samples)) + 1).round().astype(int)
        low, high = (each.reduceat(samples, edges[:-1]) for each in (np.minimum, np.maximum))
        share = _shares(np.add.reduceat(drawn, edges[:-1]))
        # moved away from the card's colour, in which nothing would be seen
        share = np.copysign(0.25 + 0.75 * np.abs(share), share)
        heights = np.maximum(high - low, 0.01 * max(float(np.abs(samples).max()), 1e-6))
        axes.axhline(0, color=self.colours["rule"], linewidth=0.6, zorder=0)
        colours = self.map((share + 1) / 2)
        axes.bar(edges[:-1], heights, np.diff(edges), bottom=low, align="edge", color=colours)
        axes.set_xlim(0, len(samples))
        if rate_hz:
            seconds = f"sound, {len(samples) / rate_hz:.1f} s"
            axes.set_title(seconds, fontsize=6, color=self.colours["soft"], pad=1)

    def answer(self, left: float, top: float, method: ExplainedMethod, truth: str | None) -> None:
        """Write a method's name, its answer and figures, and its words."""
        name = self.write(left, top, method.method, fontsize=10, fontweight="bold")
        right = "good" if method.answer == truth else "bad"
        answer = f"answers {_short(method.answer, 32)!r}"
        after = left + name.get_window_extent().width / _DPI + 0.12
        self.write(after, top + 0.01, answer, colour="ink" if truth is None else right, fontsize=9)
        rise = f"{method.baseline_output:.2f} → {method.output:.2f}"
        parts = [*method.media.items(), ("text", sum(value for _, value in method.tokens))]
        delta = f"delta {100 * method.relative_delta:.2g} % of the change, {method.steps} steps"
        lines = (
            (f"log-odds of {method.first_token!r}: {rise}", "soft"),
            (delta, "soft" if method.converged else "bad"),
            (" · ".join(f"{name} {value:+.2f}" for name, value in parts), "soft"),
        )
        for place, (line, colour) in enumerate(lines):
            self.write(left, top + 0.22 + 0.15 * place, line, colour=colour, fontsize=7.5)
        self.words(left, top + 0.82, method)

    def words(self, start: float, top: float, method: ExplainedMethod) -> None:
        """Write the words in boxes of their colours, wrapped."""
        left = start
        for word, _, share in method.shares:
            box = {
                "boxstyle": "round,pad=0.25",
                "facecolor": self.map((share + 1) / 2),
                "edgecolor": self.colours["rule"],
                "linewidth": 0.5,
            }
            colour = "white" if abs(share) > 0.6 else "ink"
            text = _short(word, 24)
            written = self.write(left + 0.05, top, text, colour=colour, fontsize=8.5, bbox=box)
            wide = written.get_window_extent().width / _DPI + 0.13
            if left + wide > start + _WORDS and left > start:
                left, top = start, top + 0.25
                written.set_position((left + 0.05, self.height - top))
            left += wide

    def around(self, explanation: Explanation) -> None:
        """Write what was asked above the rows, and what the colours say beneath."""
        heading = _short(explanation.text, 90)
        self.write(_MARGIN, 0.14, heading, fontsize=11, fontweight="bold")
        truth = "" if explanation.truth is None else f" · truth: {explanation.truth}"
        line = f"{explanation.dataset} {explanation.split} {explanation.example}{truth}"
        self.write(_MARGIN, 0.42, _short(line, 120), colour="soft", fontsize=8)
        top = self.height - 0.4
        bar = self.axes(_MARGIN, top, 1.6, 0.1)
        bar.imshow(np.linspace(-1, 1, 128)[None], cmap=self.map, aspect="auto")
        small: dict[str, Any] = {"fontsize": 7, "colour": "soft"}
        self.write(_MARGIN, top + 0.13, "lowers", **small)
        self.write(_MARGIN + 1.6, top + 0.13, "raises", ha="right", **small)
        about = textwrap.fill(ABOUT, 100)
        self.write(_MARGIN + 1.8, top - 0.04, about, linespacing=1.3, **small)
