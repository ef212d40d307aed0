"""A grid of settings and the cells that it spans; a cell's runs differ in their seed alone."""

from __future__ import annotations

import hashlib
import itertools
import json
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from ...errors import ConfigError
from ...settings import Positive, Settings, declared, number_or_text, read_settings, setting
from ..fusion.methods import METHODS, method_named
from ..settings import NOT_A_RESULT, TrainSettings, idle

Sizes = tuple[Positive | Literal["full"], ...]

_ALWAYS_SAID = ("method", "shots", "seed", "seeds")
GRID = "Grid"


@dataclass(frozen=True)
class GridSettings(Settings):
    """What one source (a preset, a file, the command line) says of a grid; empty leaves it open.

    Every combination of what is said is a cell, with one of the `variants`, sets of settings.
    """

    method: tuple[str, ...] = setting((), "Methods.", GRID, choices=METHODS)
    shots: Sizes = setting((), "Sizes, and full: 8,32,full.", GRID)
    seeds: Positive | None = setting(None, "Runs of each cell, side by side.", GRID)
    set: Mapping[str, Any] = setting(
        {},
        "Any setting of train; lists as a+b, tables as image:cls+audio:x.",
        GRID,
        metavar="NAME=VALUE,VALUE",
    )
    variants: tuple[Mapping[str, Any], ...] = ()

    def over(self, other: GridSettings) -> GridSettings:
        """Return this grid with what it leaves open taken from `other`."""
        said = {one.name: getattr(self, one.name) for one in fields(GridSettings)}
        open_ = {name: getattr(other, name) for name, value in said.items() if not value}
        return GridSettings(**{**said, **open_, "set": {**other.set, **self.set}})


def read_grid(values: Mapping[str, Any], where: str) -> GridSettings:
    """Return what a grid's file says; one method or size alone is a list of one.

    method = ["promptfuse", "blindprompt"]
    shots = [8, 32, "full"]
    seeds = 3
    [set]
    prompt_length = [5, 10, 20]
    [[variants]]
    prompt_init = "random"
    """
    alone = {
        name: [value]
        for name, value in values.items()
        if name in ("method", "shots") and not isinstance(value, list)
    }
    return checked_grid(read_settings(GridSettings, {**values, **alone}, where), where)


def checked_grid(said: GridSettings, where: str) -> GridSettings:
    """Return a grid whose `set` holds tuples of values, each checked as a setting of train."""
    axes = {name: _axis(name, value, where) for name, value in said.set.items()}
    variants = tuple(
        {name: _checked(name, value, where) for name, value in variant.items()}
        for variant in said.variants
    )
    return GridSettings(said.method, said.shots, said.seeds, axes, variants)


def _axis(name: str, value: Any, where: str) -> tuple[Any, ...]:
    """Return a setting's values: a list's items, or what `VALUE,VALUE` says."""
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        return tuple(text_value(name, text.strip(), where) for text in str(value).split(","))
    items = value if isinstance(value, list | tuple) else [value]
    return tuple(_checked(name, item, where) for item in items)


def _checked(name: str, value: Any, where: str) -> Any:
    return getattr(read_settings(TrainSettings, {name: value}, where), name)


def text_value(name: str, text: str, where: str) -> Any:
    """Return a setting of train written as text: lists as `a+b`, tables as `image:cls+audio:x`."""
    members = next((kinds for key, kinds, _ in declared(TrainSettings) if key == name), [])
    origins = [typing.get_origin(member) or member for member in members]
    value: Any = text
    if tuple in origins:
        value = text.split("+")
    elif Mapping in origins:
        pairs = (part.partition(":") for part in text.split("+") if text != "none")
        value = {key: rest for key, _, rest in pairs}
    elif Literal not in origins and text == "none":
        value = None
    elif Literal not in origins and str not in origins:
        value = number_or_text(text)
    return _checked(name, value, where)


def expand(grid: GridSettings, base: TrainSettings) -> list[TrainSettings]:
    """Return the settings of every cell, once each, those of one language model together.

    What the grid leaves open is `base`'s. What a method does not use (a prompt's settings without
    a prompt, seeds and shots without training) is left at its default, so that such cells are not
    trained twice.
    """
    for name in itertools.chain(grid.set, *grid.variants):
        if name in _ALWAYS_SAID:
            raise ConfigError(f"{name} cannot be set here; use --method, --shots or --seeds")
    shared = {**vars(base), "seeds": grid.seeds or base.seeds}
    cells: dict[str, TrainSettings] = {}
    for method, shots, variant, axes in itertools.product(
        grid.method or (base.method,),
        [None if size == "full" else size for size in grid.shots] or (base.shots,),
        grid.variants or ({},),
        itertools.product(*grid.set.values()),
    ):
        own = {"method": method, "shots": shots, **dict(zip(grid.set, axes, strict=True))}
        settings = read_settings(TrainSettings, {**shared, **own, **variant}, "the grid")
        settings = replace(
            settings, **{name: getattr(TrainSettings, name) for name in idle(method)}
        )
        cells.setdefault(cell_key(settings), settings)
    return sorted(
        cells.values(),
        key=lambda cell: (cell.plm or "", cell.plm_revision or "", cell.plm_dtype),
    )


def cell_values(settings: TrainSettings) -> dict[str, Any]:
    """Return what decides a cell's results: all that is not at its default."""
    usual = vars(TrainSettings())
    return {
        name: value
        for name, value in vars(settings).items()
        if name not in NOT_A_RESULT and (name in _ALWAYS_SAID or value != usual[name])
    }


def cell_key(settings: TrainSettings) -> str:
    """Return the canonical text by which a cell is known again."""
    return json.dumps(cell_values(settings), sort_keys=True)


def grid_hash(cells: Sequence[TrainSettings]) -> str:
    """Return eight letters that differ between two grids."""
    return hashlib.sha256("\n".join(map(cell_key, cells)).encode()).hexdigest()[:8]


def cell_label(settings: TrainSettings) -> str:
    """Return a cell's settings in one line for people, such as "promptfuse, 16 shots"."""
    full = "full" if method_named(settings.method).trains else "zero-shot"
    shots = full if settings.shots is None else f"{settings.shots} shots"
    others = cell_values(settings).items()
    rest = [f"{name} {_words(value)}" for name, value in others if name not in _ALWAYS_SAID]
    return ", ".join([settings.method, shots, *rest])


def _words(value: Any) -> str:
    if isinstance(value, Mapping):
        return " ".join(f"{name}={one}" for name, one in value.items())
    return "+".join(value) if isinstance(value, tuple) else str(value)
