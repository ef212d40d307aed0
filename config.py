"""`promptfuse.toml`: the same settings as the command line, which overrides them.

dataset = "mustard"           # what the commands work on
data = "/data/MUStARD"        # where its annotations and media lie

[extract]
modality = ["video", "audio"]

[train]
method = "blindprompt"
shots = 16
"""

from __future__ import annotations

import dataclasses
import json
import tomllib
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from .errors import ConfigError, UnknownName

CONFIG_NAME = "promptfuse.toml"


@dataclass(frozen=True)
class Workspace:
    """Where things are: the file's top-level keys.

    Attributes:
        dataset: The dataset's name in the cache.
        data: Its folder (or a table's file); None for the embedded demo and for a filled cache.
        cache: Examples and features.
        runs: Runs.
        sweeps: Sweeps.
        demo_data: Where the embedded datasets are generated.
    """

    dataset: str | None = None
    data: str | None = None
    cache: str = "pf/cache"
    runs: str = "pf/runs"
    sweeps: str = "pf/sweeps"
    demo_data: str = "pf/data"


SECTIONS = ("extract", "train", "eval")
"""One a command; the classes of their settings lie in the packages that they are for."""

Settings = TypeVar("Settings")


@dataclass(frozen=True)
class ConfigFile:
    """A parsed configuration file, or an empty one where there is none."""

    path: Path
    values: Mapping[str, Any]

    @classmethod
    def read(cls, folder: Path) -> ConfigFile:
        """Return `folder`'s configuration.

        Raises:
            ConfigError: If it is not TOML.
            UnknownName: If it has an unknown key or section.
        """
        path = folder / CONFIG_NAME
        if not path.is_file():
            return cls(path, {})
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path} is not TOML: {error}") from error
        top = [field.name for field in dataclasses.fields(Workspace)]
        for key in values:
            if key not in (*top, *SECTIONS):
                raise UnknownName(f"key in {path}", key, [*top, *SECTIONS])
        return cls(path, values)

    @property
    def empty(self) -> bool:
        """Whether there is no file or nothing in it."""
        return not self.values

    def workspace(self, **overrides: object) -> Workspace:
        """Return the top-level keys with the command line's values over them."""
        top = {key: value for key, value in self.values.items() if key not in SECTIONS}
        return self._build(Workspace, str(self.path), top, overrides)

    def settings(self, section: str, kind: type[Settings], **overrides: object) -> Settings:
        """Return a command's settings: defaults, then its section, then the command line.

        Args:
            section: One of `SECTIONS`.
            kind: The frozen dataclass that the section fills.
            overrides: The command line's values; None means not given.

        Raises:
            UnknownName: If the section has an unknown key.
            ConfigError: If a value is of the wrong type or out of range.
        """
        values = self.values.get(section, {})
        return self._build(kind, f"[{section}] of {self.path}", values, overrides)

    def _build(
        self,
        kind: type[Settings],
        where: str,
        values: Mapping[str, Any],
        overrides: Mapping[str, object],
    ) -> Settings:
        hints = typing.get_type_hints(kind)
        for key in values:
            if key not in hints:
                raise UnknownName(f"key in {where}", key, list(hints))
        checked = {key: _checked(value, hints[key], key, where) for key, value in values.items()}
        given = {
            key: _checked(value, hints[key], key, "the command line")
            for key, value in overrides.items()
            if value is not None
        }
        return kind(**(checked | given))


def typed_value(kind: type, key: str, value: Any, where: str) -> Any:
    """Return `value` as the setting `key` of the dataclass `kind` takes it.

    Raises:
        UnknownName: If there is no such setting.
        ConfigError: If the value is of another type.
    """
    hints = typing.get_type_hints(kind)
    if key not in hints:
        raise UnknownName(f"setting in {where}", key, list(hints))
    return _checked(value, hints[key], key, where)


def parsed_value(kind: type, key: str, text: str, where: str) -> Any:
    """Return the setting `key` written as text: lists as `a+b`, tables as `image:cls+audio:x`.

    Raises:
        UnknownName: If there is no such setting.
        ConfigError: If the text does not stand for a value of its type.
    """
    hint = typing.get_type_hints(kind).get(key)
    options = [typing.get_origin(option) or option for option in _options(hint)]
    if text == "none" and types.NoneType in options:
        return None
    value: Any = text
    if tuple in options:
        value = text.split("+")
    elif dict in options or Mapping in options:
        pairs = (part.partition(":") for part in text.split("+"))
        value = {name: rest for name, _, rest in pairs}
    elif str not in options and typing.Literal not in options:
        value = _number_or_text(text)
    return typed_value(kind, key, value, where)


def _number_or_text(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _checked(value: Any, hint: Any, key: str, where: str) -> Any:
    """Return `value` as the type `hint` says, lists as tuples.

    Raises:
        ConfigError: If it is of another type.
    """
    for option in _options(hint):
        matched, converted = _match(value, option)
        if matched:
            return converted
    wanted = " or ".join(_named(option) for option in _options(hint) if option is not type(None))
    raise ConfigError(f"{key} in {where} is {value!r}; expected {wanted}")


def _options(hint: Any) -> tuple[Any, ...]:
    union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    return typing.get_args(hint) if union else (hint,)


def _match(value: Any, option: Any) -> tuple[bool, Any]:
    origin = typing.get_origin(option) or option
    if origin is typing.Literal:
        return value in typing.get_args(option), value
    if origin is tuple:
        whole = isinstance(value, list | tuple) and all(isinstance(one, str) for one in value)
        return whole, tuple(value) if whole else value
    if origin in (dict, Mapping):
        return isinstance(value, Mapping), value
    if origin is float:
        return isinstance(value, int | float) and not isinstance(value, bool), value
    return isinstance(value, origin) and (origin is bool or not isinstance(value, bool)), value


def _named(option: Any) -> str:
    if typing.get_origin(option) is typing.Literal:
        return " or ".join(map(repr, typing.get_args(option)))
    if typing.get_origin(option) is tuple:
        return "a list of strings"
    return {dict: "a table", Mapping: "a table", int: "a whole number", float: "a number"}.get(
        typing.get_origin(option) or option, getattr(option, "__name__", str(option))
    )
