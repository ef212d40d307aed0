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
    [example]
    id = "question_id"
    text = "question"
    answers = "answers[].answer"
    [media]
    image = "{file}/COCO_{file}_{image_id:012d}.jpg"

`RECIPES` has those that come with the package.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

from ...cache.example_batches import UniqueIds
from ...cache.example_table import DatasetInfo, Example, Task
from ...cache.modalities import MODALITIES, find_modality, in_order
from ...errors import AnnotationInvalid, ConfigError, DatasetMissing
from ...settings import Positive, Settings, read_settings, read_toml
from .annotations import RawDataset, Record
from .cells import Cells
from .folds import with_folds
from .join import Joined
from .paths import fill, getter
from .records import READERS, read_records
from .spool import spooled

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
    """

    files: str
    on: str
    at: str = ""
    key: str | None = None
    same: tuple[str, ...] = ()
    optional: bool = False
    many: bool = False


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
        for modality in self.media:
            find_modality(modality)
        if not self.media:
            raise ConfigError(f"[media] names none of {', '.join(MODALITIES)}")


@cache
def read_recipe(path: Path) -> Recipe:
    """Return the recipe in a file."""
    if not path.is_file():
        raise DatasetMissing(f"{path}: no such recipe")
    return read_settings(Recipe, read_toml(path), str(path))


def shipped() -> dict[str, Path]:
    """Return the recipes that come with the package, by name."""
    return {path.stem: path for path in sorted(RECIPES.glob(f"*{SUFFIX}"))}


@dataclass(frozen=True)
class Reader:
    """A recipe at work on a folder.

    Attributes:
        path: Of the recipe.
        values: The recipe's own, with what was asked for in their place.
    """

    path: Path
    recipe: Recipe
    root: Path
    values: Words

    def files(self) -> list[Path]:
        """Return the recipe's file and those that it finds, whose bytes decide what is read."""
        found = [self.path]
        for split, words in self._splits():
            named = self._words(split, words)
            found += self._found(self.recipe.records.files, named)
            if self.recipe.join and words.get("join") != "no":
                found += self._found(self.recipe.join.files, named)
        return list(dict.fromkeys(found))

    def read(self, name: str | None) -> RawDataset:
        """Return the dataset's annotations."""
        recipe, used = self.recipe, set[str]()
        examples: Any = self._examples(used)
        if recipe.folds is not None:
            seed = int(self.values.get("seed", 0))
            examples = with_folds(list(examples), count=recipe.folds, seed=seed)
        named = name or self.path.stem
        splits = spooled(named, examples)
        if not splits:
            wanted = f"expected {recipe.records.files}, as {recipe.source} has it"
            raise DatasetMissing(f"{self.root}: no file of {self.path.stem}; {wanted}")
        modalities = in_order(used) or in_order(recipe.media)
        adapter = self.path.stem
        info = DatasetInfo(named, adapter, recipe.task, recipe.labels, recipe.positive, modalities)
        return RawDataset(info, splits, self.root)

    def _splits(self) -> Iterator[tuple[str | None, Words]]:
        yield from self.recipe.splits.items() if self.recipe.splits else [(None, {})]

    def _words(self, split: str | None, words: Words) -> dict[str, Any]:
        return {**self.values, **words, **({} if split is None else {"split": split})}

    def _found(self, pattern: str, words: Mapping[str, Any]) -> list[Path]:
        """Return the files below the folder that a pattern, filled from words, matches."""
        named = fill(pattern, words, str(self.path))
        parts = PurePosixPath(named)
        if parts.is_absolute() or ".." in parts.parts:
            raise ConfigError(f"{self.path}: {named!r} leads out of the data folder")
        if parts.suffix not in (".json", *READERS):
            raise ConfigError(f"{self.path}: {named!r} ends in none of .json, {', '.join(READERS)}")
        return sorted(path for path in self.root.glob(named) if path.is_file())

    def _examples(self, used: set[str]) -> Iterator[tuple[str, Example]]:
        """Yield each record's split and example, and note the modalities of its media."""
        for split, words in self._splits():
            named = self._words(split, words)
            files = self._found(self.recipe.records.files, named)
            if not files:
                continue
            cells, ids, empty = self._cells(named), UniqueIds(), True
            for place, record in self._records(files, named, joined=words.get("join") != "no"):
                example = cells.example(record)
                ids.add((example.id,))
                used.update(example.paths)
                empty = False
                yield place or split or "", example
            if empty:
                raise AnnotationInvalid(f"{files[0]}: holds no record that counts")
            again = self._records(files, named, joined=False)
            if (twice := ids.repeated(self._id(cells, record) for _, record in again)) is not None:
                raise AnnotationInvalid(f"{files[0]}: id {twice!r} comes twice")

    def _id(self, cells: Cells, record: Record) -> str:
        return cells.needed(record, "id")

    def _records(
        self, files: Sequence[Path], words: Mapping[str, Any], *, joined: bool
    ) -> Iterator[tuple[str | None, Record]]:
        """Yield records that count, with the words that templates can hold, and their splits."""
        recipe = self.recipe
        only = [(getter(name, str(self.path)), mark) for name, mark in recipe.only.items()]
        tells = recipe.split and getter(recipe.split.field, str(self.path))
        join = recipe.join if joined else None
        other = join and self._joined(join, words)
        key = join and getter(join.on, str(self.path))
        for file in files:
            for record in read_records(file, recipe.records.at):
                place = None
                if tells and recipe.split:
                    place = recipe.split.names.get(str(tells(record)), recipe.split.rest)
                if (tells and place is None) or not all(_matches(g(record), m) for g, m in only):
                    continue
                theirs = other.fields_of(key(record), record) if other and key else {}
                yield place, Record({**theirs, **record.fields, **words}, record.where)
        if other and join:
            other.check(optional=join.optional)

    def _joined(self, join: Join, words: Mapping[str, Any]) -> Joined:
        files = self._found(join.files, words)
        if not files:
            named = fill(join.files, words, str(self.path))
            raise DatasetMissing(f"{self.root / named}: no such file; the records beside it are")
        records = (record for file in files for record in read_records(file, join.at))
        theirs = join.key or join.on
        key = getter(theirs, str(self.path))
        return Joined(records, key, what=theirs, same=join.same, many=join.many)

    def _cells(self, words: Mapping[str, Any]) -> Cells:
        """Return how a record becomes an example."""
        recipe, where = self.recipe, str(self.path)
        said = {n: t for n, t in vars(recipe.example).items() if t and n != "meta"}
        media = {modality: self._below(text, words) for modality, text in recipe.media.items()}
        kept = [(name.removesuffix("?"), getter(name, where)) for name in recipe.example.meta]

        def meta(record: Record) -> dict[str, str]:
            found = ((name, read(record)) for name, read in kept)
            return {name: _as_text(value) for name, value in found if value is not None}

        return Cells(
            getters={name: getter(text, where) for name, text in (said | media).items()},
            names=said,
            labels=frozenset(recipe.labels),
            words=recipe.words,
            meta=meta,
        )

    def _below(self, template: str, words: Mapping[str, Any]) -> str:
        """Return a medium's template below the first folder that has what it begins with."""
        for folder in (fill(folder, words, str(self.path)) for folder in self.recipe.below):
            first = template.partition("/")[0]
            there = self.root / folder / (fill(first, words, "") if _known(first, words) else "")
            if there.is_dir():
                return f"{folder}/{template}" if folder else template
        folder = fill(self.recipe.below[0], words, str(self.path))
        return f"{folder}/{template}" if folder else template


def _known(template: str, words: Mapping[str, Any]) -> bool:
    return "{" not in template or template.strip("{}") in words


def _matches(value: Any, pattern: str) -> bool:
    return value is not None and fnmatchcase(str(value), pattern)


def _as_text(value: Any) -> str:
    return "\n".join(map(str, value)) if isinstance(value, list) else str(value)
