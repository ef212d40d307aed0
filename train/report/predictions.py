"""Answers to browse: examples, each run's prediction, how right it was, and pictures if given."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...cache.atomic import read_lines
from ...cache.examples import DatasetInfo, Example, ExampleTable, read_dataset
from ...cache.modalities import MODALITIES
from ...errors import CacheError, RunError, UnknownName
from ..candidates import places_of
from ..folds import read_part
from ..metrics import vqa_accuracy
from ..metrics.text import exact_match
from ..runs import EVAL, RunRecord
from .collect import Group, labels_of
from .paper_tables import by_dataset, main_groups

MAX_EXAMPLES = 1000
MAX_RUNS = 16

Thumbnail = Callable[[str, str], str | None]
"""From a dataset and an image's path in its data folder to a `data:` URL, or None."""


@dataclass(frozen=True)
class Browsed:
    """The answers of a dataset's split, as the page's script reads them.

    Attributes:
        title: The dataset and split.
        examples: One object an example: id, text, answer, kind, media and, where it has one, image.
        runs: One object a run: name, predictions, scores (0 to 1), in the examples' order.
        pictures: Small pictures as `data:` URLs, by the image's path.
        left_out: How many examples are not shown.
    """

    title: str
    examples: list[dict[str, Any]]
    runs: list[dict[str, Any]]
    pictures: Mapping[str, str]
    left_out: int

    def as_json(self) -> str:
        """Return this as JSON that can stand in a script element: no `<`, `>` or `&` in it."""
        content = {"examples": self.examples, "runs": self.runs, "pictures": self.pictures}
        text = json.dumps(content, ensure_ascii=True)
        return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def browse(
    groups: Sequence[Group], cache_root: Path, *, thumbnail: Thumbnail, max_images: int
) -> tuple[list[Browsed], list[str]]:
    """Return the answers of each dataset, and a line for each dataset that cannot be shown.

    The first seed of each row of the main tables is shown, of the first `MAX_EXAMPLES` examples.

    Args:
        groups: Evaluated runs.
        cache_root: Where the examples' texts are.
        thumbnail: Makes a small picture of an image.
        max_images: How many pictures in all.
    """
    found: list[Browsed] = []
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
        room = max_images - sum(len(one.pictures) for one in found)
        found.append(
            Browsed(
                title=f"{dataset}, {split}" + (f" of fold {fold}" if fold else ""),
                examples=list(map(_row, examples)),
                runs=_runs(main_groups(part)[:MAX_RUNS], examples),
                pictures=_pictures(dataset, examples, thumbnail, room),
                left_out=len(table) - len(shown),
            )
        )
    return found, notes


def _answered(cache_root: Path, info: DatasetInfo, record: RunRecord, split: str) -> ExampleTable:
    """Return the examples that a run answered on a split."""
    if not record.set_aside(split):
        return read_part(cache_root, info, split, record.settings.fold).table
    table = read_part(cache_root, info, record.settings.split, record.settings.fold).table
    return table.take(places_of(record.dev_ids or (), table, run=record.name))


def _row(example: Example) -> dict[str, Any]:
    return {
        "id": example.id,
        "text": example.text,
        "answer": example.answer,
        "kind": example.answer_type,
        "media": sorted(set(example.paths.values())),
        "picture": _picture_path(example),
    }


def _picture_path(example: Example) -> str | None:
    """Return the path of an example's first still picture."""
    stills = (m.name for m in MODALITIES.values() if m.pictures and not m.framed)
    return next((example.paths[name] for name in stills if name in example.paths), None)


def _pictures(
    dataset: str, examples: Sequence[Example], thumbnail: Thumbnail, room: int
) -> dict[str, str]:
    """Return at most `room` pictures, those of the first examples, each image once."""
    found: dict[str, str] = {}
    for path in dict.fromkeys(map(_picture_path, examples)):
        if len(found) >= room:
            break
        drawn = None if path is None else thumbnail(dataset, path)
        if path is not None and drawn is not None:
            found[path] = drawn
    return found


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
        name = f"{label}, {group.shots_in_words}, seed {first.record.settings.seed}"
        runs.append({"name": name, "predictions": predictions, "scores": scores})
    return runs


def rightness(prediction: str, example: Example, task: str) -> float:
    """Return how right an answer is, 0 to 1: VQA's accuracy, else whether it equals the answer."""
    if task == "vqa" and example.answers:
        return round(vqa_accuracy(prediction, example.answers), 2)
    accepted = [*example.answers, *([] if example.answer is None else [example.answer])]
    return float(exact_match(prediction, accepted))
