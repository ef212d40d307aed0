"""What an adapter reads from annotation files, before any medium is opened."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol


@dataclass(frozen=True, slots=True)
class RawExample:
    """One question or utterance as annotated.

    Args:
        id: Unique in its split.
        text: The question or utterance.
        answer: The training target; None where the split has no annotations.
        answers: Every accepted answer (ten in VQAv2).
        answer_type: Such as `yes/no`.
        question_type: Such as `how many`.
        media: Modality → path relative to the data folder.
        span_seconds: The part `[start, end)` of its video and audio; None is the whole file.
        meta: Anything else the annotations say, as text.
    """

    id: str
    text: str
    answer: str | None = None
    answers: tuple[str, ...] = ()
    answer_type: str | None = None
    question_type: str | None = None
    media: Mapping[str, str] = field(default_factory=dict)
    span_seconds: tuple[float, float] | None = None
    meta: Mapping[str, str] = field(default_factory=dict)


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
        root: The data folder that `RawExample.media` is relative to.
    """

    name: str
    adapter: str
    task: Literal["vqa", "label", "text"]
    labels: tuple[str, ...]
    positive: str | None
    modalities: tuple[str, ...]
    splits: Mapping[str, list[RawExample]]
    root: Path


class DatasetAdapter(Protocol):
    """A module that reads one kind of dataset: `read(root, *, name=None, **options)`."""

    @property
    def read(self) -> Callable[..., RawDataset]:
        """The function that reads the annotations below a folder."""
        ...
