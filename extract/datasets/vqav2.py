"""VQAv2: open questions about COCO photographs, ten answers each, under the official file names."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...cache.examples import DatasetInfo, Example
from ...errors import AnnotationInvalid, DatasetMissing
from .annotations import (
    RawDataset,
    Record,
    as_record,
    read_annotations,
    shorten,
    unique_names,
)

_QUESTIONS = "v2_OpenEnded_mscoco_{}_questions.json"
_ANNOTATIONS = "v2_mscoco_{}_annotations.json"

# split → (name in the question file, folder of its images, has published answers)
_SPLITS = {
    "train": ("train2014", "train2014", True),
    "val": ("val2014", "val2014", True),
    "test": ("test2015", "test2015", False),
    "test-dev": ("test-dev2015", "test2015", False),
}


def read(root: Path, *, name: str | None = None, images: str | None = None) -> RawDataset:
    """Return the questions of every split whose question file is there.

    The folder holds the `v2_OpenEnded_mscoco_*_questions.json` files; `images` that of `train2014`
    and so on, relative to it; by default it is the folder itself, or `images` where only that has
    them.
    """
    splits = {
        split: _read_split(root, name_in_file, _images(root, images, folder), answered=answered)
        for split, (name_in_file, folder, answered) in _SPLITS.items()
        if (root / _QUESTIONS.format(name_in_file)).exists()
    }
    if not splits:
        raise DatasetMissing(
            f"{root}: no VQAv2 question file; expected {_QUESTIONS.format('train2014')} or that of "
            "another split"
        )
    info = DatasetInfo(name or "vqav2", "vqav2", "vqa", modalities=("image",))
    return RawDataset(info, splits, root)


def _images(root: Path, images: str | None, folder: str) -> str:
    """Return the start of an image's path, up to its number."""
    if images is None:
        nested = not (root / folder).is_dir() and (root / "images" / folder).is_dir()
        images = "images" if nested else ""
    return f"{(Path(images) / folder).as_posix()}/COCO_{folder}_"


def _read_split(root: Path, name: str, images: str, *, answered: bool) -> list[Example]:
    path = root / _QUESTIONS.format(name)
    questions = Record(read_annotations(path), str(path)).get("questions", list)
    annotations = _annotations(root / _ANNOTATIONS.format(name)) if answered else {}
    media: dict[int, Mapping[str, str]] = {}  # one object an image, which serves many questions
    examples: dict[int, Example] = {}
    for place, question in enumerate(questions):
        id_, record = _identified(question, f"{path}: question {place}", path)
        if id_ in examples:
            raise record.invalid("this question_id comes twice")
        image = record.get("image_id", int)
        picture = media.setdefault(image, {"image": f"{images}{image:012d}.jpg"})
        examples[id_] = _example(id_, record, annotations.pop(id_, None), picture)
    if not examples:
        raise AnnotationInvalid(f"{path}: holds no question")
    for id_, record in annotations.items():
        raise record.invalid(f"question_id {id_} is not among the questions of {path.name}")
    return list(examples.values())


def _annotations(path: Path) -> dict[int, Record]:
    if not path.exists():
        raise DatasetMissing(f"{path}: no such annotation file; its question file is there")
    annotations: dict[int, Record] = {}
    content = Record(read_annotations(path, hook=_compact), str(path))
    for place, value in enumerate(content.get("annotations", list)):
        id_, record = _identified(value, f"{path}: annotation {place}", path)
        if id_ in annotations:
            raise record.invalid("this question_id comes twice")
        annotations[id_] = record
    return annotations


def _identified(value: Any, where: str, path: Path) -> tuple[int, Record]:
    id_ = as_record(value, where).get("question_id", int)
    return id_, Record(value, f"{path}: question_id {id_}")


def _compact(pairs: list[tuple[str, Any]]) -> Any:
    """Return one of the ten answers as its text alone: there are millions, of few kinds."""
    fields = unique_names(pairs)
    answer = fields.get("answer") if "answer_id" in fields else None
    return sys.intern(answer) if isinstance(answer, str) else fields


def _example(
    id_: int, record: Record, annotation: Record | None, media: Mapping[str, str]
) -> Example:
    text = record.get("question", str)
    if annotation is None:
        return Example(str(id_), text, paths=media)
    image, annotated = record.get("image_id", int), annotation.get("image_id", int)
    if image != annotated:
        raise annotation.invalid(f"image_id {annotated}, but the question has image_id {image}")
    return Example(
        str(id_),
        text,
        answer=sys.intern(annotation.get("multiple_choice_answer", str)),
        answers=_answers(annotation),
        answer_type=sys.intern(annotation.get("answer_type", str)),
        question_type=sys.intern(annotation.get("question_type", str)),
        paths=media,
    )


def _answers(annotation: Record) -> tuple[str, ...]:
    answers = annotation.get("answers", list)
    if not answers:
        raise annotation.invalid("field 'answers' is empty")
    if wrong := [answer for answer in answers if not isinstance(answer, str)]:
        raise annotation.invalid(
            f"each of 'answers' needs 'answer' and 'answer_id', not {shorten(wrong[0])}"
        )
    return tuple(answers)
