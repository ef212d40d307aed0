"""What an explained example's folder holds: figures as JSON, maps as safetensors, two pictures.

RUN_FOLDER/explain/<example>/
    attribution.json          the figures and each token's and modality's share
    attribution.safetensors   <method>/<modality>: maps, summed over the channels
    explanation.png           the maps over the media, a row a method
    explanation-dark.png      the same on a dark ground
    explanation.html          both with the figures as a page
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...cache.atomic import read_json_object
from ...errors import ConfigError, RunError, UnknownName
from ...settings import Settings, read_settings
from ...tables import Table

FOLDER, FIGURES, MAPS = "explain", "attribution.json", "attribution.safetensors"
PICTURE, DARK_PICTURE, PAGE = "explanation.png", "explanation-dark.png", "explanation.html"
LARGE_DELTA = 1e-2
"""From this share of the output's change on, a delta is worth a warning."""

_COLUMNS = ("method", "answer", "truth", "log-odds", "change", "delta", "|delta|/change", "steps")
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]")


@dataclass(frozen=True, kw_only=True)
class PathFigures(Settings):
    """How well the attributions of a path sum to the change that they explain.

    Attributes:
        output: The explained log-odds.
        baseline_output: The same without a signal.
        delta: The attributions' sum minus the change from baseline to input (completeness).
        steps: Points of the path at which gradients were taken.
    """

    output: float
    baseline_output: float
    delta: float
    steps: int

    @property
    def change(self) -> float:
        """How much the log-odds rose from the baseline to the input."""
        return self.output - self.baseline_output

    @property
    def relative_delta(self) -> float:
        """The size of the delta against the size of the change."""
        return abs(self.delta) / abs(self.change) if self.change else float("inf")

    @property
    def converged(self) -> bool:
        """Whether the delta is small."""
        return self.relative_delta < LARGE_DELTA


@dataclass(frozen=True, kw_only=True)
class ExplainedMethod(PathFigures):
    """One method's answer to an example, and what its first token rests on.

    Attributes:
        run: The run that was explained; None where the method needs none.
        first_token: The token that is explained, against all other first tokens.
        tokens: The text's words and their attributions, special tokens left out.
        media: Each modality's attributions summed.
    """

    method: str
    run: str | None
    answer: str
    first_token: str
    tokens: list[tuple[str, float]]
    media: dict[str, float]

    @property
    def shares(self) -> list[tuple[str, float, float]]:
        """Each word, its attribution, and that against the largest one, in [-1, 1]."""
        largest = max((abs(value) for _, value in self.tokens), default=0.0) or 1.0
        return [(word, value, value / largest) for word, value in self.tokens]


@dataclass(frozen=True)
class Explanation(Settings):
    """An example and what each method's answer to it rests on, the run's own method among them.

    The truth is None where it is not known; the baseline stood for an image without a signal.
    """

    dataset: str
    split: str
    example: str
    text: str
    truth: str | None
    baseline: str
    methods: list[ExplainedMethod]

    def figures(self) -> Table:
        """Return each method's answer and how far its attributions can be trusted."""
        rows = [
            [
                *(method.method, method.answer, self.truth),
                *(method.output, method.change, method.delta),
                *(f"{method.relative_delta:.1e}", method.steps),
            ]
            for method in self.methods
        ]
        return Table("", _COLUMNS, rows, decimals=4)

    def warnings(self) -> list[str]:
        """Return a line for each method whose attributions do not sum to the change closely."""
        return [
            f"{method.method}: the attributions miss the change in log-odds by "
            f"{100 * method.relative_delta:.1f} % after {method.steps} steps; "
            "do not read much into its map"
            for method in self.methods
            if not method.converged
        ]


@dataclass(frozen=True)
class Pictured:
    """The arrays that are drawn.

    Attributes:
        media: What was decoded, by modality: [H, W, 3] or [F, H, W, 3] uint8, [S] float32.
        maps: By method and modality, signed: [H, W], [F, H, W] or [S] float32.
    """

    media: Mapping[str, np.ndarray]
    maps: Mapping[str, Mapping[str, np.ndarray]]
    sample_rate_hz: int | None = None


def example_folder(run_folder: Path, example: str) -> Path:
    """Return where an example's explanation lies; no id leads out of the run's folder."""
    safe = _UNSAFE.sub(lambda match: f"%{ord(match[0]):x}", example)
    return run_folder / FOLDER / (safe if safe.strip(".") else f"id-{safe}")


def read_explanation(folder: Path) -> Explanation:
    """Return what was explained in a folder; a `RunError` if its figures are no such record."""
    path = folder / FIGURES
    try:
        return read_settings(Explanation, read_json_object(path, RunError), str(path))
    except (RunError, ConfigError, UnknownName) as error:
        raise RunError(f"{path} is no explanation ({error}); run pfcli explain again") from error


def explained_examples(run_folders: Sequence[Path]) -> list[Path]:
    """Return the folders of all examples that were explained, by run and example."""
    return [
        path.parent for run in run_folders for path in sorted(run.glob(f"{FOLDER}/*/{FIGURES}"))
    ]
