"""An explained example drawn and written: two pictures, a page, and what the report shows of it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from ...cache.atomic import make_folder, write_atomic
from ...tables import Table
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
from .heatmaps import draw_explanation
from .pages import Picture, render

ABOUT = (
    "Integrated Gradients of the log-odds of each method's first answer token, from no "
    "signal to the input. Red raises it, blue lowers it; each method and medium has its own scale."
)
_COLUMNS = ("method", "answer", "truth", "log-odds", "change", "delta", "|delta|/change", "steps")


@dataclass(frozen=True)
class ShownExplanation:
    """What a page shows of an explained example.

    Attributes:
        explanation: Its figures.
        light: The picture of its maps.
        dark: The same on a dark ground.
    """

    explanation: Explanation
    light: Picture
    dark: Picture

    @property
    def figures(self) -> Table:
        """Each method's answer and how far its attributions can be trusted."""
        return figures_table(self.explanation)

    @property
    def warnings(self) -> list[str]:
        """`warnings_of` the explanation."""
        return warnings_of(self.explanation)


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


def figures_table(explanation: Explanation) -> Table:
    """Return each method's answer and how far its attributions can be trusted."""
    rows = [_figures(method, explanation.truth) for method in explanation.methods]
    return Table("", _COLUMNS, rows, decimals=4)


def _figures(method: ExplainedMethod, truth: str | None) -> list[str | float | int | None]:
    delta = f"{method.relative_delta:.1e}"
    figures = [method.output, method.change, method.delta, delta, method.steps]
    return [method.method, method.answer, truth, *figures]


def warnings_of(explanation: Explanation) -> list[str]:
    """Return a line for each method whose attributions do not sum to the change closely."""
    return [
        f"{method.method}: the attributions miss the change in log-odds by "
        f"{100 * method.relative_delta:.1f} % after {method.steps} steps; "
        "do not read much into its map"
        for method in explanation.methods
        if not method.converged
    ]
