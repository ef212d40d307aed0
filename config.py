"""`promptfuse.toml`: the same settings as the command line, which overrides them.

dataset = "mustard"           # what the commands work on
data = "/data/MUStARD"        # where its annotations and media lie

[extract]
modality = ["video", "audio"]

[train]
method = "blindprompt"
shots = 16

[datasets.jokes]              # see `dataset_row`; used where this dataset is worked on
data = "jokes.jsonl"

Where there is none, the shipped one names the dataset to extract; its rows are known always.
"""

from __future__ import annotations

import dataclasses
import tomllib
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from .dataset_row import DatasetRow
from .errors import ConfigError, UnknownName
from .settings import COMMAND_LINE, Settings, declared, number_or_text, read_settings
from .train.presets import PRESETS, Preset, Presets

CONFIG_NAME = "promptfuse.toml"
SHIPPED = Path(__file__).parent / "demo" / CONFIG_NAME


@dataclass(frozen=True)
class Workspace(Settings):
    """Where things are: the file's top-level keys.

    Attributes:
        dataset: The dataset's name in the cache.
        data: Its folder (or a table's file); None for the embedded demo and for a filled cache.
        cache: Examples and features.
        runs: Runs.
        sweeps: Sweeps.
        demo_data: Where the embedded datasets are generated.
        datasets: What is said of each dataset.
        presets: Training set-ups by name, beside the paper's.
    """

    dataset: str | None = None
    data: str | None = None
    cache: str = "pf/cache"
    runs: str = "pf/runs"
    sweeps: str = "pf/sweeps"
    demo_data: str = "pf/data"
    datasets: Mapping[str, DatasetRow] = field(default_factory=dict)
    presets: Mapping[str, Preset] = field(default_factory=dict)

    def row(self, dataset: str) -> DatasetRow:
        """Return what is said of a dataset, here or in the shipped file."""
        return self.datasets.get(dataset) or shipped().datasets.get(dataset) or DatasetRow()

    def data_of(self, dataset: str) -> Path | None:
        """Return where a dataset's annotations and media lie, or will once generated."""
        row = self.row(dataset)
        generated = Path(self.demo_data) / dataset if row.generator else None
        data = self.data or row.data
        return Path(data).expanduser() if data else generated

    def presets_of(self, dataset: str) -> Presets:
        """Return what a dataset can be trained with, and what it takes when none is asked for."""
        row = self.row(dataset)
        named = {**PRESETS, **shipped().presets, **self.presets}
        return Presets(named, row.preset, row.few_shot_preset or row.preset)


SECTIONS = ("extract", "train", "eval")
"""One a command; the classes of their settings lie in the packages that they are for."""

Kind = TypeVar("Kind")


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
        named = overrides.get("dataset")
        if named in top.get("datasets", {}) and named != top.get("dataset", named):
            top.pop("data", None)  # it is the other dataset's
        return self._build(Workspace, str(self.path), top, overrides)

    def settings(self, section: str, kind: type[Kind], **overrides: object) -> Kind:
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
        kind: type[Kind],
        where: str,
        values: Mapping[str, Any],
        overrides: Mapping[str, object],
    ) -> Kind:
        read_settings(kind, values, where)
        given = {name: value for name, value in overrides.items() if value is not None}
        return read_settings(kind, {**values, **given}, COMMAND_LINE)


@cache
def shipped() -> Workspace:
    """Return the top level of the file that comes with the package, its models' paths absolute."""
    workspace = ConfigFile.read(SHIPPED.parent).workspace()
    rows = {name: row.below(SHIPPED.parent) for name, row in workspace.datasets.items()}
    return replace(workspace, datasets=rows)


def typed_value(kind: type, key: str, value: Any, where: str) -> Any:
    """Return `value` as the setting `key` of the dataclass `kind` takes it.

    Raises:
        UnknownName: If there is no such setting.
        ConfigError: If the value is of another type.
    """
    return getattr(read_settings(kind, {key: value}, where), key)


def parsed_value(kind: type, key: str, text: str, where: str) -> Any:
    """Return the setting `key` written as text: lists as `a+b`, tables as `image:cls+audio:x`.

    Raises:
        UnknownName: If there is no such setting.
        ConfigError: If the text does not stand for a value of its type.
    """
    members = next((members for name, members, _ in declared(kind) if name == key), [])
    origins = [typing.get_origin(member) or member for member in members]
    value: Any = text
    if tuple in origins:
        value = text.split("+")
    elif Mapping in origins:
        pairs = (part.partition(":") for part in text.split("+"))
        value = {name: rest for name, _, rest in pairs}
    elif typing.Literal not in origins:
        value = None if text == "none" else text if str in origins else number_or_text(text)
    return typed_value(kind, key, value, where)
