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
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Annotated, Any, TypeVar

from .cache.settings import ConvertSettings, InspectSettings, VerifySettings
from .dataset_row import DatasetRow
from .errors import ConfigError, UnknownName
from .extract.settings import ExtractSettings
from .settings import COMMAND_LINE, Help, Positive, Settings, read_settings
from .train.explain.settings import ExplainSettings
from .train.presets import PRESETS, Preset, Presets
from .train.report.settings import ReportSettings
from .train.settings import (
    EvalSettings,
    ExportSettings,
    ParamsSettings,
    PredictSettings,
    TrainSettings,
)
from .train.sweep.settings import SweepSettings

CONFIG_NAME = "promptfuse.toml"
SHIPPED = Path(__file__).parent / "demo" / CONFIG_NAME


@dataclass(frozen=True)
class DemoSettings(Settings):
    """One run of the whole job on the embedded data."""

    seeds: Annotated[Positive, Help("Runs of each method.")] = 3


SECTIONS: dict[str, type[Settings]] = {
    "extract": ExtractSettings,
    "train": TrainSettings,
    "eval": EvalSettings,
    "explain": ExplainSettings,
    "export": ExportSettings,
    "predict": PredictSettings,
    "sweep": SweepSettings,
    "report": ReportSettings,
    "demo": DemoSettings,
    "params": ParamsSettings,
    "inspect": InspectSettings,
    "verify": VerifySettings,
    "convert": ConvertSettings,
}
"""What each command can be told."""


@dataclass(frozen=True)
class Workspace(Settings):
    """Where things are: the file's top-level keys.

    Attributes:
        datasets: What is said of each dataset.
        presets: Training set-ups by name, beside the paper's.
    """

    dataset: Annotated[str | None, Help("Its name in the cache.", "Places")] = None
    data: Annotated[
        str | None,
        Help("The dataset's folder, with its media, or a table (JSONL, CSV, Parquet).", "Places"),
    ] = None
    cache: Annotated[str, Help("The cache's folder.", "Places")] = "pf/cache"
    runs: Annotated[str, Help("The runs' folder.", "Places")] = "pf/runs"
    sweeps: Annotated[str, Help("The sweeps' folder.", "Places")] = "pf/sweeps"
    demo_data: Annotated[str, Help("Where embedded datasets are generated.", "Places")] = "pf/data"
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
        values = read_toml(path) if path.is_file() else {}
        top = [key.name for key in dataclasses.fields(Workspace)]
        for key in values:
            if key not in (*top, *SECTIONS):
                raise UnknownName(f"key in {path}", key, [*top, *SECTIONS])
        return cls(path, values)

    @property
    def empty(self) -> bool:
        """Whether there is no file or nothing in it."""
        return not self.values

    def workspace(self, **typed: object) -> Workspace:
        """Return the top-level keys with what was typed over them."""
        top = {key: value for key, value in self.values.items() if key not in SECTIONS}
        named = typed.get("dataset")
        if named in top.get("datasets", {}) and named != top.get("dataset", named):
            top.pop("data", None)  # it is the other dataset's
        return _merged(Workspace, top, str(self.path), typed)

    def settings(self, section: str, kind: type[Kind], **typed: object) -> Kind:
        """Return a command's settings: defaults, then its section, then what was typed.

        Args:
            section: One of `SECTIONS`.
            kind: Its class.
            typed: The command line's values.

        Raises:
            UnknownName: If the section has an unknown key.
            ConfigError: If a value is of the wrong type or out of range.
        """
        where = f"[{section}] of {self.path}"
        return _merged(kind, self.values.get(section, {}), where, typed)


@cache
def shipped() -> Workspace:
    """Return the top level of the file that comes with the package, its models' paths absolute."""
    workspace = ConfigFile.read(SHIPPED.parent).workspace()
    rows = {name: row.below(SHIPPED.parent) for name, row in workspace.datasets.items()}
    return replace(workspace, datasets=rows)


def _merged(kind: type[Kind], values: Any, where: str, typed: Mapping[str, Any]) -> Kind:
    if not isinstance(values, Mapping):
        raise ConfigError(f"{where} is {values!r}; expected a table of settings")
    if values:
        read_settings(kind, values, where)
    return read_settings(kind, {**values, **typed}, COMMAND_LINE)


def read_toml(path: Path) -> dict[str, Any]:
    """Return the content of a TOML file.

    Raises:
        ConfigError: If it is not there, or is not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such file; a TOML file is expected") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}") from error
