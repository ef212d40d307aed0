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
    from matplotlib.figure import Figure

_DPI = 120
_TILE = 1.75  # inches
_FRAME = 0.8
_WAVE = 0.75
_GAP = 0.12
_WORDS = 3.4
_TOP = 0.75
_BOTTOM = 0.5
_LEAST = 1.3
_MARGIN = 0.2
_FRAMES_SHOWN = 8
_SLICES = 200  # of a sound, across its width
_FULL_AT = 99.5  # the percentile of a map's sizes that has the full colour
_MAP = "RdBu_r"
_RED, _BLUE = (178, 24, 43), (33, 102, 172)


@dataclass(frozen=True)
class _Theme:
    """The colours of a picture, those of the page that it stands in."""

    paper: str
    ink: str
    soft: str
    good: str
    bad: str
    rule: str
    dark: bool


_LIGHT = _Theme("#ffffff", "#1d2330", "#5d6676", "#1f7a4d", "#b3372f", "#d5d2c8", dark=False)
_DARK = _Theme("#1b1f27", "#e6e8ee", "#9aa3b2", "#6fcf9b", "#ff8f85", "#3a4250", dark=True)


@dataclass
class _Pen:
    """A figure measured in inches from its upper left corner."""

    figure: Figure
    width: float
    height: float
    theme: _Theme

    def axes(self, left: float, top: float, width: float, height: float) -> Any:
        box = (left / self.width, 1 - (top + height) / self.height)
        made = self.figure.add_axes((*box, width / self.width, height / self.height))
        made.set_axis_off()
        return made

    def write(self, left: float, top: float, text: str, **style: Any) -> Any:
        """Write plain text: nothing in it is taken for mathematics."""
        values = {"fontsize": 8, "color": self.theme.ink, "va": "top", "parse_math": False} | style
        return self.figure.text(left / self.width, 1 - top / self.height, text, **values)

    def width_of(self, written: Any) -> float:
        return written.get_window_extent().width / self.figure.dpi


def draw_explanation(explanation: Explanation, pictured: Pictured, *, dark: bool = False) -> bytes:
    """Return a PNG: a row a method, its media and their maps, what it answered and its words."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    wide, high = _media_size(pictured)
    row = max(high, _LEAST) + 2 * _GAP
    width = _MARGIN + wide + 2 * _GAP + _WORDS + _MARGIN
    height = _TOP + row * len(explanation.methods) + _BOTTOM
    theme = _DARK if dark else _LIGHT
    figure = Figure(figsize=(width, height), dpi=_DPI, facecolor=theme.paper)
    canvas = FigureCanvasAgg(figure)
    pen = _Pen(figure, width, height, theme)
    _head(pen, explanation)
    for index, method in enumerate(explanation.methods):
        top = _TOP + index * row
        _media(pen, pictured, method.method, top)
        _answer(pen, method, explanation.truth, left=_MARGIN + wide + 2 * _GAP, top=top)
    _legend(pen)
    file = io.BytesIO()
    canvas.print_png(file, pil_kwargs={"optimize": True})
    return file.getvalue()


def _media_size(pictured: Pictured) -> tuple[float, float]:
    """Return the width and height of a row's media, in inches."""
    wide, heights = 0.0, []
    for medium in pictured.media.values():
        if medium.ndim == 3:
            wide = max(wide, 2 * _TILE + _GAP)
            heights.append(_TILE)
        elif medium.ndim == 4:
            shown = len(_shown(medium))
            wide = max(wide, shown * _FRAME + (shown - 1) * 0.04)
            heights.append(2 * _FRAME + 0.04)
        else:
            wide = max(wide, 4.0)
            heights.append(_WAVE)
    return wide, sum(heights) + _GAP * (len(heights) - 1)


def _shown(frames: np.ndarray) -> np.ndarray:
    """Return the places of at most so many frames, evenly spread."""
    count = min(len(frames), _FRAMES_SHOWN)
    return np.linspace(0, len(frames) - 1, count).round().astype(int)


def _head(pen: _Pen, explanation: Explanation) -> None:
    pen.write(_MARGIN, 0.14, _short(explanation.text, 90), fontsize=11, fontweight="bold")
    truth = "" if explanation.truth is None else f" · truth: {explanation.truth}"
    line = f"{explanation.dataset} {explanation.split} {explanation.example}{truth}"
    pen.write(_MARGIN, 0.42, _short(line, 120), color=pen.theme.soft)


def _short(text: str, most: int) -> str:
    text = " ".join(text.split())
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _media(pen: _Pen, pictured: Pictured, method: str, top: float) -> None:
    wide, _ = _media_size(pictured)
    for modality, medium in pictured.media.items():
        drawn = pictured.maps[method][modality]
        if medium.ndim == 3:
            _tile(pen, medium, _MARGIN, top, _TILE)
            _tile(pen, medium, _MARGIN + _TILE + _GAP, top, _TILE, drawn, _limit(drawn))
            top += _TILE + _GAP
        elif medium.ndim == 4:
            limit = _limit(drawn)
            for place, frame in enumerate(_shown(medium)):
                left = _MARGIN + place * (_FRAME + 0.04)
                _tile(pen, medium[frame], left, top, _FRAME)
                below = top + _FRAME + 0.04
                _tile(pen, medium[frame], left, below, _FRAME, drawn[frame], limit)
            top += 2 * _FRAME + 0.04 + _GAP
        else:
            axes = pen.axes(_MARGIN, top, wide, _WAVE)
            _wave(axes, medium, drawn, pictured.sample_rate_hz, pen.theme)
            top += _WAVE + _GAP


def _limit(values: np.ndarray) -> float:
    """Return the size that has the full colour: nearly the largest, so that few points rule."""
    return float(np.percentile(np.abs(values), _FULL_AT)) or 1.0


def _tile(
    pen: _Pen,
    pixels: np.ndarray,
    left: float,
    top: float,
    side: float,
    drawn: np.ndarray | None = None,
    limit: float = 1.0,
) -> None:
    """Draw a picture, or its faded grey under its map; small ones are enlarged smoothly."""
    axes = pen.axes(left, top, side, side)
    if drawn is None:
        axes.imshow(pixels, interpolation="bicubic")
        return
    grey = pixels.mean(axis=-1)
    faded = 0.45 * grey if pen.theme.dark else 255 - 0.35 * (255 - grey)
    axes.imshow(faded, cmap="gray", vmin=0, vmax=255, interpolation="bicubic")
    share = np.clip(drawn / limit, -1, 1)
    axes.imshow(
        share, cmap=_MAP, vmin=-1, vmax=1, alpha=np.abs(share) ** 0.6, interpolation="nearest"
    )


def _wave(
    axes: Any, samples: np.ndarray, drawn: np.ndarray, rate_hz: int | None, theme: _Theme
) -> None:
    """Draw a sound's outline, each slice in the colour of its attributions' sum."""
    from matplotlib import colormaps

    edges = np.linspace(0, len(samples), min(_SLICES, len(samples)) + 1).round().astype(int)
    sums = np.add.reduceat(drawn, edges[:-1])
    low, high = (reduce.reduceat(samples, edges[:-1]) for reduce in (np.minimum, np.maximum))
    share = np.clip(sums / _limit(sums), -1, 1)
    axes.axhline(0, color=theme.rule, linewidth=0.6, zorder=0)
    axes.bar(
        edges[:-1],
        np.maximum(high - low, 0.01 * max(float(np.abs(samples).max()), 1e-6)),
        np.diff(edges),
        bottom=low,
        align="edge",
        color=colormaps[_MAP]((_outward(share) + 1) / 2),
    )
    axes.set_xlim(0, len(samples))
    if rate_hz:
        axes.set_title(
            f"sound, {len(samples) / rate_hz:.1f} s", fontsize=6, color=theme.soft, pad=1
        )


def _outward(share: np.ndarray) -> np.ndarray:
    """Return shares moved away from white, which would not be seen on the page."""
    return np.sign(share) * (0.12 + 0.88 * np.abs(share))


def _answer(
    pen: _Pen, method: ExplainedMethod, truth: str | None, *, left: float, top: float
) -> None:
    theme = pen.theme
    name = pen.write(left, top, method.method, fontsize=10, fontweight="bold")
    right = truth is not None and method.answer == truth
    pen.write(
        left + pen.width_of(name) + 0.12,
        top + 0.01,
        f"answers {_short(method.answer, 32)!r}",
        fontsize=9,
        color=theme.good if right else theme.ink if truth is None else theme.bad,
    )
    rise = f"{method.baseline_output:.2f} → {method.output:.2f}"
    quality = f"delta {100 * method.relative_delta:.2g} % of the change, {method.steps} steps"
    shares = " · ".join(f"{name} {value:+.2f}" for name, value in _parts(method))
    for place, (line, colour) in enumerate(
        (
            (f"log-odds of {method.first_token!r}: {rise}", theme.soft),
            (quality, theme.soft if method.converged else theme.bad),
            (shares, theme.soft),
        )
    ):
        pen.write(left, top + 0.22 + 0.15 * place, line, fontsize=7.5, color=colour)
    _words(pen, method, left, top + 0.82)


def _parts(method: ExplainedMethod) -> list[tuple[str, float]]:
    return [*method.media.items(), ("text", sum(value for _, value in method.tokens))]


def word_colour(share: float, paper: tuple[int, int, int]) -> tuple[int, int, int]:
    """Return the paper's colour at 0, red towards 1, blue towards -1."""
    part = min(abs(share), 1.0)
    pairs = zip(_RED if share > 0 else _BLUE, paper, strict=True)
    red, green, blue = (round(ground + part * (end - ground)) for end, ground in pairs)
    return red, green, blue


def _words(pen: _Pen, method: ExplainedMethod, left: float, top: float) -> None:
    """Draw the words as boxes, wrapped."""
    at, theme = left, pen.theme
    red, green, blue = bytes.fromhex(theme.paper[1:])
    for word, _, share in method.shares:
        colour = tuple(part / 255 for part in word_colour(share, (red, green, blue)))
        written = pen.write(
            at + 0.05,
            top,
            _short(word, 24),
            fontsize=8.5,
            color="white" if abs(share) > 0.6 else theme.ink,
            bbox={
                "boxstyle": "round,pad=0.25",
                "facecolor": colour,
                "edgecolor": theme.rule,
                "linewidth": 0.5,
            },
        )
        wide = pen.width_of(written) + 0.13
        if at + wide > left + _WORDS and at > left:
            at, top = left, top + 0.25
            written.set_position(((at + 0.05) / pen.width, 1 - top / pen.height))
        at += wide


def _legend(pen: _Pen) -> None:
    top = pen.height - 0.4
    bar = pen.axes(_MARGIN, top, 1.6, 0.1)
    bar.imshow(np.linspace(-1, 1, 128)[None], cmap=_MAP, aspect="auto")
    pen.write(_MARGIN, top + 0.13, "lowers", fontsize=7, color=pen.theme.soft)
    pen.write(_MARGIN + 1.6, top + 0.13, "raises", fontsize=7, color=pen.theme.soft, ha="right")
    about = (
        "Integrated Gradients of the log-odds of the first answer token, from no signal to "
        "the input.\nEach method and medium has its own scale, symmetric about zero."
    )
    pen.write(_MARGIN + 1.8, top - 0.04, about, fontsize=7, color=pen.theme.soft, linespacing=1.3)
