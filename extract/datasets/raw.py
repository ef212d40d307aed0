"""What an adapter reads from annotation files, before any medium is opened."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ...cache.examples import Example, Task


@dataclass(frozen=True)
class RawDataset:
    """A dataset's annotations: what an adapter returns.

    Args:
        name: The name it gets in the cache.
        adapter: The adapter that read it.
        task: `vqa` (open answers scored the official way), `label` (one of `labels`) or `text`.
        labels: The closed set of answers of a `label` task.
        positive: The label that counts as positive in precision and recall.
        modalities: Those its examples may have.
        splits: Split → examples in the annotations' order.
        root: The data folder that `Example.paths` are relative to.
    """

    name: str
    adapter: str
    task: Task
    labels: tuple[str, ...]
    positive: str | None
    modalities: tuple[str, ...]
    splits: Mapping[str, list[Example]]
    root: Path


class DatasetAdapter(Protocol):
    """A module that reads one kind of dataset: `read(root, *, name=None, **options)`."""

    @property
    def read(self) -> Callable[..., RawDataset]:
        """The function that reads the annotations below a folder."""
        ...
