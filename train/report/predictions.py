"""Answers to browse: examples, each run's prediction, how right it was, and pictures if given."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import PurePath
from typing import Any

from ...cache.atomic import read_lines
from ...cache.examples import DatasetInfo, Example, ExampleTable, read_dataset
from ...cache.modalities import MODALITIES, in_order
from ...errors import CacheError, RunError, UnknownName
from ..data.candidates import places_of
from ..data.selection import read_part
from ..metrics import vqa_accuracy
from ..metrics.classification import accepted_answers, exact_match
from ..record import EVAL, RunRecord
from .groups import Group, labels_of
from .pages import Picture
from .paper_tables import by_dataset, main_groups

MAX_EXAMPLES = 1000
MAX_RUNS = 16

Thumbnail = Callable[[str, str, str, bytes | None], Picture | None]
"""From a dataset, a modality, a medium's path in its data folder and its key to a picture."""


@dataclass(frozen=True)
class Browsed:
    """The answers of a dataset's split, and how many examples are left out.

    The content is what the page's script reads: the examples (id, text, answer, kind and media,
    which are paths), the runs (name, predictions and scores from 0 to 1, in the examples' order),
    and small pictures by the medium's path, as attributes of an `img`.
    """

    title: str
    left_out: int
    content: dict[str, Any]


def browse(
    groups: Sequence[Group], cache_root: PurePath, *, thumbnail: Thumbnail | None, max_images: int
) -> tuple[list[Browsed], list[str]]:
    """Return the answers of each dataset, and a line for each dataset that cannot be shown.

    The first seed of each row of the main tables is shown, of the first `MAX_EXAMPLES` examples,
    with the pictures that `thumbnail` makes, at most `max_images` in all.
    """
    browsed: list[Browsed] = []
    notes: list[str] = []
    for part in by_dataset(groups):
        record, split = part[0].first.record, part[0].first.split
        dataset, fold = record.dataset, record.settings.fold
        try:
            info = read_dataset(cache_root, dataset)
            table = _answered(cache_root, info, record, split)
        except (CacheError, RunError, UnknownName) as error:
            notes.append(f"no answers of {dataset} to browse: {error}")
            continue
        shown = table.take(range(min(len(table), MAX_EXAMPLES)))
        examples = list(shown)
        room = max_images - sum(len(answers.content["pictures"]) for answers in browsed)
        content = {
            "examples": list(map(_row, examples)),
            "runs": _runs(main_groups(part)[:MAX_RUNS], examples),
            "pictures": _pictures(dataset, examples, thumbnail, room),
        }
        title = f"{dataset}, {split}" + (f" of fold {fold}" if fold else "")
        browsed.append(Browsed(title, len(table) - len(shown), content))
    return browsed, notes


def _answered(
    cache_root: PurePath, info: DatasetInfo, record: RunRecord, split: str
) -> ExampleTable:
    """Return the examples that a run answered on a split."""
    if not record.set_aside(split):
        return read_part(cache_root, info, split, record.settings.fold)[0]
    table, _ = read_part(cache_root, info, record.settings.split, record.settings.fold)
    return table.take(places_of(record.dev_ids or (), table, run=record.name))


def _row(example: Example) -> dict[str, Any]:
    return {
        "id": example.id,
        "text": example.text,
        "answer": example.answer,
        "kind": example.answer_type,
        "media": list(dict.fromkeys(example.paths[name] for name in in_order(example.paths))),
    }


def _pictures(
    dataset: str, examples: Sequence[Example], thumbnail: Thumbnail | None, room: int
) -> dict[str, dict[str, Any]]:
    """Return at most `room` pictures, those of the first examples, each medium once."""
    if thumbnail is None:
        return {}
    media: dict[str, tuple[str, bytes | None]] = {}
    for example in examples:
        for modality, path in example.paths.items():
            if MODALITIES[modality].pictures:
                media.setdefault(path, (modality, example.media.get(modality)))
    drawn = (
        (path, asdict(picture))
        for path, (modality, key) in media.items()
        if (picture := thumbnail(dataset, modality, path, key)) is not None
    )
    return dict(itertools.islice(drawn, room))


def _runs(groups: Sequence[Group], examples: Sequence[Example]) -> list[dict[str, Any]]:
    runs = []
    for group, label in zip(groups, labels_of(groups), strict=True):
        first = group.first
        lines = read_lines(first.folder / f"{EVAL}{first.split}" / "predictions.jsonl")
        answered = {line["id"]: line["prediction"] for line in lines}
        predictions = [answered.get(example.id) for example in examples]
        scores = [
            None if prediction is None else rightness(prediction, example, first.record.task)
            for prediction, example in zip(predictions, examples, strict=True)
        ]
        name = f"{label}, {group.shots_in_words}, seed {first.settings.seed}"
        runs.append({"name": name, "predictions": predictions, "scores": scores})
    return runs


def rightness(prediction: str, example: Example, task: str) -> float:
    """Return how right an answer is, 0 to 1: VQA's accuracy, else whether it equals the answer."""
    if task == "vqa" and example.answers:
        return round(vqa_accuracy(prediction, example.answers), 2)
    return float(exact_match(prediction, accepted_answers(example)))
