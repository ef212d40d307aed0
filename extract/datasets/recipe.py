"""A dataset as a recipe: a TOML file that says where its records lie and what makes an example.

    source = "https://visualqa.org/download.html"
    task = "vqa"
    [splits.train]                # a split, with words that templates can hold beside its fields
    file = "train2014"
    [records]
    files = "v2_OpenEnded_mscoco_{file}_questions.json"
    at = "questions"
    [join]
    files = "v2_mscoco_{file}_annotations.json"
    at = "annotations"
    on = "question_id"
    [join.example]
    answers = "answers[].answer"
    [example]
    id = "question_id"
    text = "question"
    [media]
    image = "{file}/COCO_{file}_{image_id:012d}.jpg"

`RECIPES` has those that come with the package.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

from ...cache.example_table import Task
from ...cache.modalities import MODALITIES, find_modality
from ...errors import ConfigError, DatasetMissing, UnknownName
from ...settings import Positive, Settings, read_settings, read_toml

RECIPES = Path(__file__).parent / "recipes"
SUFFIX = ".toml"

Words = Mapping[str, str | int]


@dataclass(frozen=True)
class Records(Settings):
    """Where records lie: a pattern of files below the data folder, and in JSON the way to them."""

    files: str
    at: str = ""


@dataclass(frozen=True)
class Join(Settings):
    """Other records of the same things: `on` in ours is `key` in theirs; `same` must agree.

    Ours may be without one where that is `optional`; `many` of ours may share one of theirs.
    `example` is what they say of it: columns that splits without annotations lack.
    """

    files: str
    on: str
    at: str = ""
    key: str | None = None
    same: tuple[str, ...] = ()
    optional: bool = False
    many: bool = False
    example: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Fields(Settings):
    """What is read of a record, each a path or a template; `meta` is kept as it is."""

    id: str
    text: str
    answer: str | None = None
    answers: str | None = None
    answer_type: str | None = None
    question_type: str | None = None
    start_seconds: str | None = None
    end_seconds: str | None = None
    meta: tuple[str, ...] = ()


@dataclass(frozen=True)
class SplitBy(Settings):
    """The split that a record's field names; those not named are the `rest`, or left out."""

    field: str
    names: Mapping[str, str]
    rest: str | None = None


@dataclass(frozen=True)
class Recipe(Settings):
    """How a dataset is read.

    Attributes:
        source: Where its data come from.
        words: What an answer stands for, such as "hateful" of "1".
        values: Words for templates, which `--option NAME=VALUE` changes.
        splits: Each split's own words; one without files is left out, one that has
            `join = "no"` is not joined.
        split: In place of that, the field that tells.
        only: Patterns that fields must match for a record to count.
        folds: So many stratified folds, drawn with the value `seed`.
        below: Folders that the media may lie in, of which the first that is there counts.
    """

    source: str
    records: Records
    example: Fields
    task: Task = "text"
    media: Mapping[str, str] = field(default_factory=dict)
    labels: tuple[str, ...] = ()
    positive: str | None = None
    words: Mapping[str, str] = field(default_factory=dict)
    values: Words = field(default_factory=dict)
    splits: Mapping[str, Words] = field(default_factory=dict)
    split: SplitBy | None = None
    join: Join | None = None
    only: Mapping[str, str] = field(default_factory=dict)
    folds: Positive | None = None
    below: tuple[str, ...] = ("",)

    def __post_init__(self) -> None:
        if (self.split is None) == (not self.splits):
            raise ConfigError("a recipe has either [splits.NAME], or [split] with its field")
        if (self.task == "label") != bool(self.labels):
            raise ConfigError(f"labels is {list(self.labels)}, and the task is {self.task!r}")
        columns = [entry.name for entry in fields(Fields) if entry.name != "meta"]
        for name in self.join.example if self.join else ():
            if name not in columns:
                raise UnknownName("column in join.example", name, columns)
        for modality in self.media:
            find_modality(modality)
        if not self.media:
            raise ConfigError(f"[media] names none of {', '.join(MODALITIES)}")


def read_recipe(path: Path) -> Recipe:
    """Return the recipe in a file."""
    if not path.is_file():
        raise DatasetMissing(f"{path}: no such recipe")
    return read_settings(Recipe, read_toml(path), str(path))


def shipped() -> dict[str, Path]:
    """Return the recipes that come with the package, by name."""
    return {path.stem: path for path in sorted(RECIPES.glob(f"*{SUFFIX}"))}
