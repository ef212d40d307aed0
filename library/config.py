"""`promptfuse.toml`: the same settings as the command line, which overrides them.

dataset = "mustard"           # what the commands work on
data = "/data/MUStARD"        # where its annotations and media lie

[extract]
modality = ["video", "audio"]

[train]
method = "blindprompt"
shots = 16

[datasets.jokes]              # see `DatasetRow`; used where this dataset is worked on
data = "jokes.jsonl"

Where there is none, the shipped one names the dataset to extract; its rows are known always.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar

from ..cache.settings import ConvertSettings, InspectSettings, VerifySettings
from ..errors import ConfigError, UnknownName
from ..extract.settings import ExtractSettings
from ..settings import COMMAND_LINE, Help, Positive, Settings, read_settings
from ..train.explain.settings import ExplainSettings
from ..train.report.settings import ReportSettings
from ..train.settings import (
    EvalSettings,
    ExportSettings,
    ParamsSettings,
    PredictSettings,
    TrainSettings,
)
from ..train.sweep.settings import SweepSettings
from .workspace import CONFIG_NAME, Workspace, read_toml


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

Kind = TypeVar("Kind")


@dataclass(frozen=True)
class ConfigFile:
    """A parsed configuration file, or an empty one where there is none."""

    path: Path
    values: Mapping[str, Any]

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Return `folder`'s configuration, an empty one where it has none."""
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
        """Return a command's settings: defaults, then its section, then what was `typed`."""
        where = f"[{section}] of {self.path}"
        return _merged(kind, self.values.get(section, {}), where, typed)


def _merged(kind: type[Kind], values: Any, where: str, typed: Mapping[str, Any]) -> Kind:
    if not isinstance(values, Mapping):
        raise ConfigError(f"{where} is {values!r}; expected a table of settings")
    if values:
        read_settings(kind, values, where)
    return read_settings(kind, {**values, **typed}, COMMAND_LINE)
