"""A recipe at work on a folder: its files → examples."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa

from ...cache.example_batches import UniqueIds
from ...cache.example_table import DatasetInfo, Example
from ...cache.modalities import in_order
from ...errors import AnnotationInvalid, ConfigError, DatasetMissing
from .annotations import Irregular, RawDataset, Record
from .cells import Cells
from .columns import Listed, columnar_batches
from .folds import with_folds
from .join import Joined
from .paths import Getter, fill, getter
from .recipe import Join, Recipe, Words
from .records import READERS, read_records
from .spool import Spool, spooled

_NOT_JOINED = "no"
_SPARE = (".csv", ".tsv")
"""Formats in which an empty cell says nothing."""


@dataclass(frozen=True)
class Part:
    """What is read together: the files of one split, or all where a field tells the split.

    `words` are those that templates can hold beside a record's fields.
    """

    split: str | None
    words: Mapping[str, Any]
    files: list[Path]
    annotations: list[Path]
    join: Join | None


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
        parts = list(self._parts())
        return [self.path, *(path for part in parts for path in (*part.files, *part.annotations))]

    def read(self, name: str | None) -> RawDataset:
        """Return the dataset's annotations."""
        recipe, named, used = self.recipe, name or self.path.stem, set[str]()
        parts = [part for part in self._parts() if part.files]
        if not parts:
            wanted = f"expected {self._expected()}, as {recipe.source} has it"
            raise DatasetMissing(f"{self.root}: no file of {self.path.stem}; {wanted}")
        if recipe.split is not None or recipe.folds is not None:
            examples = (pair for part in parts for pair in self._examples(part, used))
            splits = spooled(named, self._folded(examples))
        else:
            where = f"dataset {named!r}, split {{!r}}"
            splits = {part.split or "": self._spool(part, where, used) for part in parts}
        modalities = in_order(used or recipe.media)
        labels, adapter = recipe.labels, self.path.stem
        info = DatasetInfo(named, adapter, recipe.task, labels, recipe.positive, modalities)
        return RawDataset(info, splits, self.root)

    def _expected(self) -> str:
        """Return the name of the first split's file."""
        own = next(iter(self.recipe.splits.items()), ("", {}))
        words = {**self.values, **own[1], "split": own[0]}
        return fill(self.recipe.records.files, words, str(self.path))

    def _parts(self) -> Iterator[Part]:
        recipe = self.recipe
        for split, own in recipe.splits.items() if recipe.splits else [(None, {})]:
            words = {**self.values, **own, **({} if split is None else {"split": split})}
            join = None if own.get("join") == _NOT_JOINED else recipe.join
            files = self._found(recipe.records.files, words)
            annotations = self._found(join.files, words) if join else []
            if files and join and not annotations:
                named = self.root / fill(join.files, words, str(self.path))
                raise DatasetMissing(f"{named}: no such file; {files[0].name} beside it needs it")
            yield Part(split, words, files, annotations, join)

    def _found(self, pattern: str, words: Mapping[str, Any]) -> list[Path]:
        """Return the files below the folder that a pattern, filled from words, matches."""
        named = fill(pattern, words, str(self.path))
        parts = PurePosixPath(named)
        if parts.is_absolute() or ".." in parts.parts:
            raise ConfigError(f"{self.path}: {named!r} leads out of the data folder")
        if parts.suffix not in (".json", *READERS):
            raise ConfigError(f"{self.path}: {named!r} ends in none of .json, {', '.join(READERS)}")
        return sorted(path for path in self.root.glob(named) if path.is_file())

    def _spool(self, part: Part, where: str, used: set[str]) -> Spool:
        """Return a split's examples, and note the modalities of their media."""
        spool = Spool(where.format(part.split))
        try:
            for batch in self._columns(part):
                spool.write(batch)
            used.update(self.recipe.media)
        except Irregular:
            spool = Spool(where.format(part.split))
            for _, example in self._examples(part, used):
                spool.append(example)
        spool.finish()
        return spool

    def _folded(self, examples: Iterable[tuple[str, Example]]) -> Iterable[tuple[str, Example]]:
        if self.recipe.folds is None:
            return examples
        seed = int(self.values.get("seed", 0))
        return with_folds(list(examples), count=self.recipe.folds, seed=seed)

    def _columns(self, part: Part) -> Iterator[pa.RecordBatch]:
        """Yield a part's examples where its records are as plain as `columnar_batches` needs."""
        recipe, join, said = self.recipe, part.join, self._said(part)
        if join and (join.many or join.optional or len(part.annotations) > 1):
            raise Irregular
        looked_at = (recipe.words, recipe.only, recipe.labels, recipe.example.meta)
        drawn = "answers" in said and "answer" not in said
        if any(looked_at) or drawn or len(part.files) > 1:
            raise Irregular
        same = join.same if join else ()
        records = Listed(part.files[0], recipe.records.at, join and join.on, same)
        theirs = join and Listed(part.annotations[0], join.at, join.key or join.on, same)
        return columnar_batches(said, records, theirs, part.words)

    def _examples(self, part: Part, used: set[str]) -> Iterator[tuple[str, Example]]:
        """Yield each record's split and example, and note the modalities of its media."""
        cells, ids, empty = self._cells(part), UniqueIds(), True
        for split, record in self._records(part, part.join):
            example = cells.example(record)
            ids.add((example.id,))
            used.update(example.paths)
            empty = False
            yield split, example
        if empty:
            raise AnnotationInvalid(f"{part.files[0]}: holds no record that counts")
        again = (cells.needed(record, "id") for _, record in self._records(part, None))
        if (twice := ids.repeated(again)) is not None:
            raise AnnotationInvalid(f"{part.files[0]}: id {twice!r} comes twice")

    def _records(self, part: Part, join: Join | None) -> Iterator[tuple[str, Record]]:
        """Yield the records that count, with all that templates can hold, and their splits."""
        recipe, words = self.recipe, part.words
        only = [(self._getter(name), pattern) for name, pattern in recipe.only.items()]
        tells = recipe.split and self._getter(recipe.split.field)
        theirs = join and self._joined(part, join)
        key = join and self._getter(join.on)
        for record in self._named(part.files, recipe.records.at, recipe.example.id):
            split = part.split
            if tells and recipe.split:
                split = recipe.split.names.get(str(tells(record)), recipe.split.rest)
            if split is None or not all(fnmatchcase(str(read(record)), p) for read, p in only):
                continue
            both = theirs.beside(key(record), record) if theirs and key else record
            if both is None:
                if not (join and join.optional):
                    continue  # `check` counts them
                both = record
            yield split, Record({**both.fields, **words}, both.where)
        if theirs and join:
            theirs.check(optional=join.optional)

    def _joined(self, part: Part, join: Join) -> Joined:
        key = join.key or join.on
        theirs = self._named(part.annotations, join.at, key)
        return Joined(theirs, self._getter(key), what=key, same=join.same, many=join.many)

    def _named(self, files: Iterable[Path], at: str, id_: str) -> Iterator[Record]:
        """Yield the records of files, each named by its id, where it has one."""
        for file in files:
            spare = file.suffix.lower() in _SPARE
            for record in read_records(file, at):
                fields = record.fields
                if spare and "" in fields.values():
                    fields = {name: cell for name, cell in fields.items() if cell != ""}
                where = f"{file}: {id_} {fields[id_]}" if id_ in fields else record.where
                yield Record(fields, where)

    def _getter(self, said: str) -> Getter:
        return getter(said, str(self.path))

    def _said(self, part: Part) -> dict[str, str]:
        """Return what the recipe says of each column of an example."""
        said = {name: text for name, text in vars(self.recipe.example).items() if text}
        said.pop("meta", None)
        said |= part.join.example if part.join else {}
        media = self.recipe.media.items()
        return said | {name: self._below(text, part.words) for name, text in media}

    def _cells(self, part: Part) -> Cells:
        """Return how a record becomes an example."""
        recipe, said = self.recipe, self._said(part)
        kept = [(name.removesuffix("?"), self._getter(name)) for name in recipe.example.meta]

        def meta(record: Record) -> dict[str, str]:
            found = ((name, read(record)) for name, read in kept)
            return {name: _as_text(value) for name, value in found if value is not None}

        getters = {name: self._getter(text) for name, text in said.items()}
        return Cells(getters, said, frozenset(recipe.labels), recipe.words, meta, strict=True)

    def _below(self, template: str, words: Mapping[str, Any]) -> str:
        """Return a medium's template below the first folder that has what it begins with."""
        first = template.partition("/")[0]
        known = "{" not in first or first.strip("{}") in words
        begin = fill(first, words, str(self.path)) if known else ""
        folders = [fill(folder, words, str(self.path)) for folder in self.recipe.below]
        if folders[0]:  # which was asked for
            folders = folders[:1]
        there = (folder for folder in folders if (self.root / folder / begin).is_dir())
        folder = next(there, folders[0])
        return f"{folder}/{template}" if folder else template


def _as_text(value: Any) -> str:
    return "\n".join(map(str, value)) if isinstance(value, list) else str(value)
