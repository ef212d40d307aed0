"""A grid of settings and the cells that it spans; a cell's runs differ in their seed alone."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from ...errors import ConfigError, UnknownName
from ...settings import read_settings
from ..fusion.methods import method_named
from ..settings import NOT_A_RESULT, TrainSettings, idle

OWN_OPTIONS = ("method", "shots", "seeds")
"""Settings that have an option of their own and cannot be an axis."""


@dataclass(frozen=True)
class GridChoice:
    """What one source (a preset, a file, the command line) says of a grid; None leaves it open.

    Attributes:
        methods: Names in `fusion.methods.METHODS`.
        shots: Training examples in all; None among them uses every one.
        seeds: Runs a cell.
        axes: The values of each other setting; every combination is a cell.
        variants: Sets of settings of which each combination takes one.
    """

    methods: tuple[str, ...] | None = None
    shots: tuple[int | None, ...] | None = None
    seeds: int | None = None
    axes: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    variants: tuple[Mapping[str, Any], ...] | None = None

    def over(self, other: GridChoice) -> GridChoice:
        """Return this choice with what it leaves open taken from `other`."""
        return GridChoice(
            methods=self.methods or other.methods,
            shots=self.shots or other.shots,
            seeds=self.seeds or other.seeds,
            axes={**other.axes, **self.axes},
            variants=self.variants or other.variants,
        )

    @property
    def empty(self) -> bool:
        """Whether nothing is said."""
        return self == GridChoice()


def expand(choice: GridChoice, base: TrainSettings) -> list[TrainSettings]:
    """Return the settings of every cell, once each, those of one language model together.

    What a method does not use (a prompt's settings without a prompt, seeds and shots without
    training) is left at its default, so that such cells are not trained twice.

    Args:
        choice: The grid; what it leaves open is `base`'s.
        base: What all cells share.

    Raises:
        UnknownName: If a method or a setting does not exist.
        ConfigError: If a setting is out of range or has an option of its own.
    """
    changes = (*choice.axes, *(name for one in choice.variants or () for name in one))
    _require_settings(changes)
    base = replace(base, seeds=choice.seeds or base.seeds)
    cells: dict[str, TrainSettings] = {}
    for method, shots, variant, values in itertools.product(
        choice.methods or (base.method,),
        choice.shots or (base.shots,),
        choice.variants or ({},),
        itertools.product(*choice.axes.values()),
    ):
        axes = dict(zip(choice.axes, values, strict=True))
        values = {**vars(base), "method": method, "shots": shots, **axes, **variant}
        settings = _without_idle(read_settings(TrainSettings, values, "the grid"))
        cells.setdefault(cell_key(settings), settings)
    return sorted(
        cells.values(),
        key=lambda cell: (cell.plm or "", cell.plm_revision or "", cell.plm_dtype),
    )


def _require_settings(names: Sequence[str]) -> None:
    known = [one.name for one in fields(TrainSettings)]
    for name in names:
        if name not in known:
            raise UnknownName("setting", name, known)
        if name in (*OWN_OPTIONS, "seed"):
            raise ConfigError(f"{name} cannot be set here; use --method, --shots or --seeds")


def _without_idle(settings: TrainSettings) -> TrainSettings:
    defaults = TrainSettings()
    return replace(settings, **{name: getattr(defaults, name) for name in idle(settings.method)})


def cell_values(settings: TrainSettings) -> dict[str, Any]:
    """Return what decides a cell's results, as JSON values: all that is not at its default."""
    defaults = TrainSettings()
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in asdict(settings).items()
        if name not in NOT_A_RESULT
        and (name in ("method", "shots", "seed", "seeds") or value != getattr(defaults, name))
    }


def cell_key(settings: TrainSettings) -> str:
    """Return the canonical text by which a cell is known again."""
    return json.dumps(cell_values(settings), sort_keys=True)


def grid_hash(cells: Sequence[TrainSettings]) -> str:
    """Return eight letters that differ between two grids."""
    return hashlib.sha256("\n".join(map(cell_key, cells)).encode()).hexdigest()[:8]


def cell_label(settings: TrainSettings) -> str:
    """Return a cell's settings in one line for people, such as "promptfuse, 16 shots"."""
    values = cell_values(settings)
    trained = method_named(values["method"]).trains
    full = "full" if trained else "zero-shot"
    shots = full if values["shots"] is None else f"{values['shots']} shots"
    rest = [
        f"{name} {_words(value)}"
        for name, value in values.items()
        if name not in ("method", "shots", "seed", "seeds")
    ]
    return ", ".join([str(values["method"]), shots, *rest])


def _words(value: Any) -> str:
    if isinstance(value, Mapping):
        return " ".join(f"{name}={one}" for name, one in value.items())
    return "+".join(map(str, value)) if isinstance(value, list) else str(value)
