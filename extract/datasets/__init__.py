"""Dataset adapters: annotation files → `RawDataset`. `DATASETS` is the closed set of them."""

import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from ...cache.examples import DatasetInfo, Example
from ...cache.modalities import MODALITIES
from ...errors import ConfigError, DatasetMissing, UnknownName
from . import mustard, table, vqav2
from .annotations import RawDataset
from .collector import no_collection
from .media_files import state_of
from .memo import Origin


class Adapter(NamedTuple):
    """What reads the annotations below a folder, and what names the files that it would read.

    Attributes:
        read: `read(root, *, name=None, **options)`.
        files: `files(root, **options)`: those whose bytes decide what is read, which lie in the
            folder that the media's paths are relative to.
    """

    read: Callable[..., RawDataset]
    files: Callable[..., list[Path]]


DATASETS: dict[str, Adapter] = {
    "mustard": Adapter(mustard.read, mustard.files),
    "table": Adapter(table.read, table.files),
    "vqav2": Adapter(vqav2.read, vqav2.files),
}


@dataclass(frozen=True)
class Source:
    """Where a dataset's annotations are and how they are read (`table`: or a table itself).

    `name` is the dataset's name in the cache, by default the adapter's own.
    """

    adapter: str
    root: Path
    name: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.adapter not in DATASETS:
            raise UnknownName("dataset adapter", self.adapter, list(DATASETS))
        _, _, *valid = inspect.signature(self._adapter.read).parameters  # after root and name
        if unknown := [option for option in self.options if option not in valid]:
            raise ConfigError(
                f"dataset adapter {self.adapter!r} has no option {unknown[0]!r}; it has: "
                f"{', '.join(valid)}"
            )
        if not self.root.exists():
            kind = "file" if self.root.suffix else "folder"
            raise DatasetMissing(
                f"{self.root}: no such {kind}; expected a {self.adapter} dataset there"
            )

    @property
    def _adapter(self) -> Adapter:
        return DATASETS[self.adapter]

    def origin(self) -> Origin | None:
        """Return what would be read, None where there is nothing."""
        files = self._adapter.files(self.root, **self.options)
        options = json.dumps(self.options, sort_keys=True, default=str)
        how = {"adapter": self.adapter, "options": options, "reader": version("promptfuse")}
        states = {path.resolve(): state_of(path) for path in files}
        return Origin(how, files[0].parent, states) if files else None

    @no_collection()
    def read(self) -> RawDataset:
        """Return the annotations."""
        origin = self.origin()
        raw = self._adapter.read(self.root, name=self.name, **self.options)
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
