"""Annotation files → `RawDataset`: of one table, or as a recipe says."""

import inspect
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ...cache.examples import DatasetInfo, Example
from ...cache.modalities import MODALITIES
from ...errors import ConfigError, DatasetMissing, UnknownName
from . import recipe, table
from .annotations import RawDataset
from .collector import no_collection
from .media_files import state_of
from .memo import Origin
from .recipe_reader import Reader

TABLE = "table"
"""The adapter of a dataset that is one table; all others are recipes."""


def adapters() -> list[str]:
    """Return the names of what reads datasets."""
    return sorted([TABLE, *recipe.shipped()])


@dataclass(frozen=True)
class Source:
    """Where a dataset's annotations are and how they are read.

    Attributes:
        adapter: `TABLE`, a shipped recipe's name, or the path of one.
        root: The folder of the annotations and media, or a table itself.
        name: The dataset's name in the cache, by default the adapter's own.
        options: `table.read`'s, or other values of a recipe.
    """

    adapter: str
    root: Path
    name: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.adapter == TABLE:
            _, _, *valid = inspect.signature(table.read).parameters  # after root and name
        else:
            valid = list(self._recipe.values)
        if unknown := [option for option in self.options if option not in valid]:
            has = f"it has: {', '.join(valid)}" if valid else "it has none"
            raise ConfigError(f"dataset {self.adapter!r} has no option {unknown[0]!r}; {has}")
        if not self.root.exists():
            kind = "file" if self.root.suffix else "folder"
            raise DatasetMissing(
                f"{self.root}: no such {kind}; expected a {self.adapter} dataset there"
            )

    @cached_property
    def _recipe(self) -> recipe.Recipe:
        return recipe.read_recipe(self._recipe_path)

    @property
    def _recipe_path(self) -> Path:
        if self.adapter.endswith(recipe.SUFFIX):
            return Path(self.adapter)
        shipped = recipe.shipped()
        if self.adapter not in shipped:
            raise UnknownName("dataset adapter", self.adapter, adapters())
        return shipped[self.adapter]

    @property
    def _reader(self) -> Reader:
        known = self._recipe
        return Reader(self._recipe_path, known, self.root, {**known.values, **self.options})

    def origin(self) -> Origin | None:
        """Return what would be read, None where there is nothing."""
        if self.adapter == TABLE:
            files = table.files(self.root, **self.options)
            root = files[0].parent
        else:
            files, root = self._reader.files(), self.root
        options = json.dumps(self.options, sort_keys=True, default=str)
        how = {"adapter": self.adapter, "options": options, "reader": version("promptfuse")}
        return Origin(how, root, {path.resolve(): state_of(path) for path in files})

    @no_collection()
    def read(self) -> RawDataset:
        """Return the annotations."""
        origin = self.origin()
        if self.adapter == TABLE:
            raw = table.read(self.root, name=self.name, **self.options)
        else:
            raw = self._reader.read(self.name)
        return replace(raw, origin=origin)


def read_raw(
    adapter: str, root: Path, *, name: str | None = None, options: Mapping[str, Any] | None = None
) -> RawDataset:
    """Return the annotations that an adapter finds below a folder."""
    return Source(adapter, root, name, options or {}).read()


def read_files(files: Sequence[Path], text: str, *, modalities: Sequence[str]) -> RawDataset:
    """Return one example a file, all of one text; a clip gives its video and its sound."""
    if len(modalities) > 1 and not all(MODALITIES[name].temporal for name in modalities):
        raise ConfigError(
            f"each example needs {' and '.join(modalities)}, which are two files: give a table "
            f"(JSONL, CSV, Parquet) with columns id, text, {', '.join(modalities)}"
        )
    paths = [dict.fromkeys(modalities, str(path.expanduser().resolve())) for path in files]
    examples = [Example(str(number), text, paths=row) for number, row in enumerate(paths, start=1)]
    return files_dataset(examples, modalities)


def files_dataset(examples: Sequence[Example], modalities: Sequence[str]) -> RawDataset:
    """Return examples as a dataset, their media given by absolute paths."""
    info = DatasetInfo("files", "files", "text", modalities=tuple(modalities))
    return RawDataset(info, {"files": list(examples)}, root=Path("/"))
