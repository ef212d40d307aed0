"""`promptfuse.toml`: where things are, what datasets work well with, and what commands are told.

dataset = "mustard"           # the top level: what the commands work on, and where
data = "/data/MUStARD"

[train]                       # a section a command: its options, which the command line overrides
method = "blindprompt"
shots = 16

[datasets.jokes]              # see `DatasetRow`; used where this dataset is worked on
data = "jokes.jsonl"
adapter = "table"
encoder = { video = "google/vit-base-patch16-224-in21k" }

Where there is none, the shipped one names the dataset to extract; its rows are known always.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cache
from pathlib import Path, PurePath
from typing import Annotated, Any, Literal, NamedTuple, Self, TypeVar

from ..cache.mirror import fetched_path
from ..cache.modalities import MODALITIES, find_modality
from ..cache.places import Url, place_of
from ..cache.settings import (
    CompactSettings,
    ConvertSettings,
    CopySettings,
    ExportFeaturesSettings,
    GcSettings,
    ImportSettings,
    InspectSettings,
    MergeSettings,
    VerifySettings,
)
from ..errors import ConfigError, UnknownName
from ..extract.settings import ExtractSettings
from ..settings import (
    COMMAND_LINE,
    Device,
    Help,
    Positive,
    Settings,
    Threads,
    read_settings,
    read_toml,
    setting,
)
from ..train.explain.settings import ExplainSettings
from ..train.presets import PRESETS, Preset, Presets
from ..train.report.settings import ReportSettings
from ..train.settings import (
    EvalSettings,
    ExportSettings,
    ParamsSettings,
    PredictSettings,
    TrainSettings,
)
from ..train.sweep.settings import SweepSettings

CONFIG_NAME = "promptfuse.toml"
RECIPE_SUFFIX = ".toml"
"""What a dataset that is named by its recipe ends in."""

SHIPPED = Path(__file__).parents[1] / "demo" / CONFIG_NAME

PLM = "facebook/bart-base"
"""The paper's language model (table 2)."""

DECODED = frozenset(modality.decoded_field for modality in MODALITIES.values())
"""Encoder families that may stand alone."""


@dataclass(frozen=True)
class SweepRow(Settings):
    """How `pfcli sweep` scales the paper's grids to a dataset; `plms` are by family.

    `side_by_side` trains a cell a processor, for models that gain little from several threads.
    """

    shots: tuple[Positive | Literal["full"], ...] | None = None
    seeds: Positive | None = None
    plms: Mapping[str, str] = field(default_factory=dict)
    side_by_side: bool = False


@dataclass(frozen=True)
class DatasetRow(Settings):
    """One `[datasets.NAME]`; what is not said is taken as for any other dataset.

    `data` is its folder or table, which the `demo.GENERATORS` of that name writes where it is not
    there; `adapter` reads it, by `options`. Models are hub ids or folders, encoders by modality. On
    few shots it trains with `few_shot_preset`, else with `preset`.
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
    """Where things are: the file's top-level keys; `presets` are by name, beside the paper's."""

    dataset: str | None = setting(None, "Its name in the cache, or its recipe: my.toml.", "Places")
    data: str | None = setting(
        None,
        "The dataset's folder or URL, with its media, or a table (JSONL, CSV, Parquet).",
        "Places",
    )
    cache: PurePath = setting(
        Path("pf/cache"),
        "The cache's folder, or s3://, gs://, az:// (mirrored in $PROMPTFUSE_MIRROR).",
        "Places",
        metavar="FOLDER|URL",
    )
    runs: Path = setting(Path("pf/runs"), "The runs' folder.", "Places")
    sweeps: Path = setting(Path("pf/sweeps"), "The sweeps' folder.", "Places")
    demo_data: Path = setting(Path("pf/data"), "Where embedded datasets are generated.", "Places")
    datasets: Mapping[str, DatasetRow] = field(default_factory=dict)
    presets: Mapping[str, Preset] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "cache", place_of(self.cache))
        if self.dataset is not None and self.dataset.endswith(RECIPE_SUFFIX):
            self._take_recipe(Path(self.dataset))
        for name in ("cache", "runs", "sweeps", "demo_data"):
            if isinstance(folder := getattr(self, name), Path) and folder.is_file():
                raise ConfigError(f"{name} is {folder}, which is a file; name a folder")

    def _take_recipe(self, recipe: Path) -> None:
        """Work on the dataset of a recipe, whose data lie beside it if nothing else is said."""
        row = self.row(recipe.stem)
        own = replace(row, adapter=str(recipe), data=row.data or str(recipe.parent))
        object.__setattr__(self, "datasets", {**self.datasets, recipe.stem: own})
        object.__setattr__(self, "dataset", recipe.stem)

    def row(self, dataset: str) -> DatasetRow:
        """Return what is said of a dataset, here or in the shipped file."""
        return self.datasets.get(dataset) or shipped().datasets.get(dataset) or DatasetRow()

    def data_of(self, dataset: str) -> Path | None:
        """Return where a dataset's annotations and media lie, or will once generated."""
        row = self.row(dataset)
        if data := self.data or row.data:
            place = place_of(data)
            return fetched_path(place) if isinstance(place, Url) else Path(place)
        return self.demo_data / dataset if row.generator else None

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


@dataclass(frozen=True)
class DemoSettings(Settings):
    """One run of the whole job on the embedded data."""

    seeds: Positive = setting(3, "Runs of each method.")


@dataclass(frozen=True)
class BenchSettings(Settings):
    """One measurement beside peers."""

    rounds: Positive = setting(5, "So many turns of each contender; the median counts.")
    markdown: Annotated[bool, Help("Print tables as docs/performance.md keeps them.")] = False
    device: Device = "cpu"
    threads: Threads = None


class Section(NamedTuple):
    """What a command can be told: its settings, and the fields of `Workspace`."""

    kind: type[Settings]
    places: tuple[str, ...] = ()


SECTIONS = {
    "extract": Section(ExtractSettings, ("dataset", "data", "cache", "demo_data")),
    "train": Section(TrainSettings, ("dataset", "cache", "runs")),
    "eval": Section(EvalSettings, ("cache", "runs")),
    "explain": Section(ExplainSettings, ("data", "cache", "runs")),
    "export": Section(ExportSettings, ("cache", "runs")),
    "predict": Section(PredictSettings, ("cache", "runs")),
    "sweep": Section(SweepSettings, ("dataset", "cache", "runs", "sweeps")),
    "report": Section(ReportSettings, ("data", "cache", "runs", "sweeps")),
    "demo": Section(DemoSettings, ("cache", "runs", "sweeps", "demo_data")),
    "params": Section(ParamsSettings),
    "inspect": Section(InspectSettings, ("cache",)),
    "verify": Section(VerifySettings, ("cache",)),
    "convert": Section(ConvertSettings, ("cache",)),
    "push": Section(CopySettings, ("cache",)),
    "pull": Section(CopySettings, ("cache",)),
    "merge": Section(MergeSettings, ("cache",)),
    "compact": Section(CompactSettings, ("cache",)),
    "gc": Section(GcSettings, ("cache",)),
    "export-features": Section(ExportFeaturesSettings, ("dataset", "cache")),
    "import": Section(ImportSettings, ("dataset", "data", "cache")),
    "bench": Section(BenchSettings),
}

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
        known = [*(key.name for key in fields(Workspace)), *SECTIONS]
        for key in values:
            if key not in known:
                raise UnknownName(f"key in {path}", key, known)
        return cls(path, values)

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
