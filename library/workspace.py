"""Where things are, and what each dataset works well with: the top level of `promptfuse.toml`.

[datasets.jokes]
data = "jokes.jsonl"
adapter = "table"
encoder = { video = "google/vit-base-patch16-224-in21k" }
preset = "mustard_low"
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from ..cache.modalities import MODALITIES, find_modality
from ..errors import ConfigError
from ..settings import Help, Positive, Settings, read_settings
from ..train.presets import PRESETS, Preset, Presets

CONFIG_NAME = "promptfuse.toml"
SHIPPED = Path(__file__).parents[1] / "demo" / CONFIG_NAME

PLM = "facebook/bart-base"
"""The paper's language model (table 2)."""

DECODED = frozenset(modality.decoded_field for modality in MODALITIES.values())
"""Encoder families that may stand alone."""


@dataclass(frozen=True)
class SweepRow(Settings):
    """How `pfcli sweep` scales the paper's grids to a dataset.

    Attributes:
        shots: Few-shot sizes; "full" is every example.
        seeds: Runs a cell.
        plms: The language model of each family.
        side_by_side: Train a cell a processor, for models that gain little from several threads.
    """

    shots: tuple[Positive | Literal["full"], ...] | None = None
    seeds: Positive | None = None
    plms: Mapping[str, str] = field(default_factory=dict)
    side_by_side: bool = False


@dataclass(frozen=True)
class DatasetRow(Settings):
    """One `[datasets.NAME]`; what is not said is taken as for any other dataset.

    Attributes:
        data: Its folder or table.
        generator: A name in `demo.GENERATORS`: what writes it where it is not there.
        adapter: What reads its annotations.
        options: Of the adapter.
        encoder: Hub id or folder by modality.
        plm: Hub id or folder of the language model.
        preset: What it trains with.
        few_shot_preset: What it trains with on few shots; None takes `preset`.
        sweep: How sweeps are scaled.
    """

    data: str | None = None
    generator: str | None = None
    adapter: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    encoder: Mapping[str, str] = field(default_factory=dict)
    plm: str | None = None
    preset: str | None = None
    few_shot_preset: str | None = None
    sweep: SweepRow = field(default_factory=SweepRow)

    def __post_init__(self) -> None:
        for modality in self.encoder:
            find_modality(modality)

    def encoder_for(self, modality: str, chosen: str | None = None) -> str:
        """Return the encoder of a modality: the one chosen, the dataset's own, or the paper's.

        "pixels" or "samples" alone are the decoded media as one of the latter takes them.
        """
        if chosen in DECODED:
            return f"{chosen}:{self.encoder_for(modality)}"
        return chosen or self.encoder.get(modality) or MODALITIES[modality].default_encoder

    def plm_for(self, chosen: str | None = None) -> str:
        """Return the language model: the one chosen, the dataset's own, or the paper's."""
        return chosen or self.plm or PLM

    def below(self, folder: Path) -> "DatasetRow":
        """Return the row with its models' paths put below a folder."""

        def placed(paths: Mapping[str, str]) -> dict[str, str]:
            return {name: str(folder / path) for name, path in paths.items()}

        return replace(
            self,
            encoder=placed(self.encoder),
            plm=self.plm and str(folder / self.plm),
            sweep=replace(self.sweep, plms=placed(self.sweep.plms)),
        )


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

    def __post_init__(self) -> None:
        for name in ("cache", "runs", "sweeps", "demo_data"):
            if Path(getattr(self, name)).is_file():
                raise ConfigError(
                    f"{name} is {getattr(self, name)}, which is a file; name a folder"
                )

    def row(self, dataset: str) -> DatasetRow:
        """Return what is said of a dataset, here or in the shipped file."""
        return self.datasets.get(dataset) or shipped().datasets.get(dataset) or DatasetRow()

    def data_of(self, dataset: str) -> Path | None:
        """Return where a dataset's annotations and media lie, or will once generated."""
        row = self.row(dataset)
        generated = Path(self.demo_data) / dataset if row.generator else None
        data = self.data or row.data
        return Path(data).expanduser() if data else generated

    def media_folder(self, dataset: str) -> Path | None:
        """Return where a dataset's media are, if they are still there."""
        folder = self.data_of(dataset)
        if folder is not None and folder.is_file():  # a table: its media lie beside it
            folder = folder.parent
        return folder if folder is not None and folder.is_dir() else None

    def presets_of(self, dataset: str) -> Presets:
        """Return what a dataset can be trained with, and what it takes when none is asked for."""
        row = self.row(dataset)
        named = {**PRESETS, **shipped().presets, **self.presets}
        return Presets(named, row.preset, row.few_shot_preset or row.preset)


@cache
def shipped() -> Workspace:
    """Return the top level of the file that comes with the package, its models' paths absolute."""
    workspace = read_settings(Workspace, read_toml(SHIPPED), str(SHIPPED))
    rows = {name: row.below(SHIPPED.parent) for name, row in workspace.datasets.items()}
    return replace(workspace, datasets=rows)


def read_toml(path: Path) -> dict[str, Any]:
    """Return the content of a TOML file.

    Raises:
        ConfigError: If it is not there, or is not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such file; a TOML file is expected") from error
    except IsADirectoryError as error:
        raise ConfigError(f"{path} is a folder; a TOML file is expected") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}") from error
