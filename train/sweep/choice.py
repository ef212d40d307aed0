"""A grid as people say it, on the command line or in a file, as the values of each axis."""

import typing
from collections.abc import Mapping
from typing import Any

from ...settings import declared, number_or_text, read_settings
from ..settings import TrainSettings
from .grid import GridChoice
from .settings import GridSettings


def grid_settings(values: Mapping[str, Any], where: str) -> GridSettings:
    """Return what a grid's file says; one method or size alone is a list of one.

    method = ["promptfuse", "blindprompt"]
    shots = [8, 32, "full"]
    seeds = 3
    [set]
    prompt_length = [5, 10, 20]
    [[variants]]
    prompt_init = "random"

    Raises:
        ConfigError: If a value is of the wrong type or out of range.
        UnknownName: If it has an unknown key.
    """
    alone = {
        name: [value]
        for name, value in values.items()
        if name in ("method", "shots") and not isinstance(value, list)
    }
    return read_settings(GridSettings, {**values, **alone}, where)


def choice_of(said: GridSettings, where: str) -> GridChoice:
    """Return a grid's values, each checked as a setting of train.

    Raises:
        ConfigError: If a value is of the wrong type or out of range.
        UnknownName: If there is no such setting.
    """
    axes = {name: _axis(name, value, where) for name, value in said.set.items()}
    variants = tuple(
        {name: _checked(name, value, where) for name, value in variant.items()}
        for variant in said.variants
    )
    shots = tuple(None if size == "full" else size for size in said.shots)
    return GridChoice(said.method or None, shots or None, said.seeds, axes, variants or None)


def _axis(name: str, value: Any, where: str) -> tuple[Any, ...]:
    """Return a setting's values: a list's items, or what `VALUE,VALUE` says."""
    if isinstance(value, list):
        return tuple(_checked(name, item, where) for item in value)
    if isinstance(value, Mapping | bool):
        return (_checked(name, value, where),)
    return tuple(text_value(name, text.strip(), where) for text in str(value).split(","))


def _checked(name: str, value: Any, where: str) -> Any:
    return getattr(read_settings(TrainSettings, {name: value}, where), name)


def text_value(name: str, text: str, where: str) -> Any:
    """Return a setting of train written as text: lists as `a+b`, tables as `image:cls+audio:x`.

    Raises:
        UnknownName: If there is no such setting.
        ConfigError: If the text does not stand for a value of its type.
    """
    members = next((kinds for key, kinds, _ in declared(TrainSettings) if key == name), [])
    origins = [typing.get_origin(member) or member for member in members]
    value: Any = text
    if tuple in origins:
        value = text.split("+")
    elif Mapping in origins:
        pairs = (part.partition(":") for part in text.split("+") if text != "none")
        value = {key: rest for key, _, rest in pairs}
    elif typing.Literal not in origins and text == "none":
        value = None
    elif typing.Literal not in origins and str not in origins:
        value = number_or_text(text)
    return _checked(name, value, where)
