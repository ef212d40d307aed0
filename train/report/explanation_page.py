"""An explained example drawn and written: two pictures, a page, and what the report shows of it."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from ...cache.atomic import make_folder, write_atomic
from ..explain.explanation import (
    DARK_PICTURE,
    FIGURES,
    MAPS,
    PAGE,
    PICTURE,
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
