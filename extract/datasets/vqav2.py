"""VQAv2: open questions about COCO photographs, ten answers each, under the official file names."""

import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from ...cache.example_batches import UniqueIds
from ...cache.example_table import DatasetInfo, Example
from ...errors import AnnotationInvalid, DatasetMissing
from .annotations import Irregular, RawDataset, Record, as_record, shorten, stream_list
from .spool import Spool
from .vqav2_columns import split_batches

_QUESTIONS = "v2_OpenEnded_mscoco_{}_questions.json"
_ANNOTATIONS = "v2_mscoco_{}_annotations.json"

# split → (name in the question file, folder of its images, has published answers)
_SPLITS = {
    "train": ("train2014", "train2014", True),
    "val": ("val2014", "val2014", True),
    "test": ("test2015", "test2015", False),
    "test-dev": ("test-dev2015", "test2015", False),
}


def files(root: Path, **_: object) -> list[Path]:
    """Return the annotation files that are there."""
    named = [
        root / pattern.format(name)
        for name, _, answered in _SPLITS.values()
        for pattern in (_QUESTIONS, _ANNOTATIONS)[: 1 + answered]
    ]
    return [path for path in named if path.exists()]


def read(root: Path, *, name: str | None = None, images: str | None = None) -> RawDataset:
    """Return the questions of every split whose question file is there.

    The folder holds the `v2_OpenEnded_mscoco_*_questions.json` files; `images` that of `train2014`
    and so on, relative to it; by default it is the folder itself, or `images` where only that has
    them. Both files of a split are read at once; they need no memory where they name the questions
    in the same order, as the official ones do.
    """
    held = {
        split: row for split, row in _SPLITS.items() if (root / _QUESTIONS.format(row[0])).exists()
    }
    if not held:
        raise DatasetMissing(
            f"{root}: no VQAv2 question file; expected {_QUESTIONS.format('train2014')} or that of "
            "another split"
        )
    info = DatasetInfo(name or "vqav2", "vqav2", "vqa", modalities=("image",))
    splits = {
        split: _spooled(
            f"dataset {info.name!r}, split {split!r}",
            root / _QUESTIONS.format(name_in_file),
            root / _ANNOTATIONS.format(name_in_file) if answered else None,
            _images(root, images, folder),
        )
        for split, (name_in_file, folder, answered) in held.items()
    }
    return RawDataset(info, splits, root)


def _spooled(where: str, questions: Path, annotations: Path | None, image: str) -> Spool:
    """Return a split's examples; the images' paths begin with `image`."""
    spool = Spool(where)
    try:
        for batch in split_batches(questions, annotations, image):
            spool.write(batch)
    except Irregular:
        spool = Spool(where)
        for example in _read_split(questions, annotations, image):
            spool.append(example)
    spool.finish()
    return spool


def _images(root: Path, images: str | None, folder: str) -> str:
    """Return the start of an image's path, up to its number."""
    if images is None:
        nested = not (root / folder).is_dir() and (root / "images" / folder).is_dir()
        images = "images" if nested else ""
    return f"{(Path(images) / folder).as_posix()}/COCO_{folder}_"


def _read_split(path: Path, answered: Path | None, images: str) -> Iterator[Example]:
    annotations = _Annotations(answered) if answered else None
    ids = UniqueIds()
    empty = True
    for id_, record in _records(path, "questions"):
        ids.add((id_,))
        empty = False
        text, image = record.get("question", str), record.get("image_id", int)
        said = annotations.of(id_, image) if annotations else None
        paths = {"image": f"{images}{image:012d}.jpg"}
        if said is None:
            yield Example(str(id_), text, paths=paths)
        else:
            yield Example(str(id_), text, *said[1:], paths=paths)
    if empty:
        raise AnnotationInvalid(f"{path}: holds no question")
    if (twice := ids.repeated(id_ for id_, _ in _records(path, "questions"))) is not None:
        raise AnnotationInvalid(f"{path}: question_id {twice}: this question_id comes twice")
    if annotations and (id_ := annotations.first_left()) is not None:
        twice = any(id_ == asked for asked, _ in _records(path, "questions"))
        other = f"question_id {id_} is not among the questions of {path.name}"
        raise annotations.invalid(id_, "this question_id comes twice" if twice else other)


class _Said(NamedTuple):
    """What an annotation says of its question, the fields of an `Example` after its image."""

    image: int
    answer: str
    answers: tuple[str, ...]
    answer_type: str
    question_type: str


class _Annotations:
    """A split's annotations, looked up by question as they are read; those passed over are kept."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            raise DatasetMissing(f"{path}: no such annotation file; its question file is there")
        self._path = path
        self._coming = _records(path, "annotations")
        self._passed: dict[int, _Said] = {}

    def of(self, id_: int, image: int) -> _Said | None:
        """Return what is said of a question about an image, None where nothing is."""
        said = self._passed.pop(id_, None)
        for other, record in self._coming if said is None else ():
            if other in self._passed:
                raise self.invalid(other, "this question_id comes twice")
            self._passed[other] = _said(record)
            if other == id_:
                said = self._passed.pop(id_)
                break
        if said is not None and said.image != image:
            problem = f"image_id {said.image}, but the question has image_id {image}"
            raise self.invalid(id_, problem)
        return said

    def first_left(self) -> int | None:
        """Return an annotation's question that was not asked for, if there is one."""
        return next(chain(self._passed, (id_ for id_, _ in self._coming)), None)

    def invalid(self, id_: int, problem: str) -> AnnotationInvalid:
        """Return the error that names a question's annotation, to be raised."""
        return AnnotationInvalid(f"{self._path}: question_id {id_}: {problem}")


def _records(path: Path, name: str) -> Iterator[tuple[int, Record]]:
    file = str(path)
    for place, value in enumerate(stream_list(path, name)):
        id_ = value.get("question_id") if isinstance(value, dict) else None
        if type(id_) is not int:  # said in full
            id_ = as_record(value, f"{file}: {name[:-1]} {place}").get("question_id", int)
        yield id_, Record(value, f"{file}: question_id {id_}")


def _said(annotation: Record) -> _Said:
    return _Said(
        image=annotation.get("image_id", int),
        answer=sys.intern(annotation.get("multiple_choice_answer", str)),
        answers=_answers(annotation),
        answer_type=sys.intern(annotation.get("answer_type", str)),
        question_type=sys.intern(annotation.get("question_type", str)),
    )


def _answers(annotation: Record) -> tuple[str, ...]:
    answers = annotation.get("answers", list)
    if not answers:
        raise annotation.invalid("field 'answers' is empty")
    try:
        return tuple([sys.intern(answer["answer"]) for answer in answers])
    except (KeyError, TypeError):
        wrong = next(a for a in answers if not _is_answer(a))
    raise annotation.invalid(f"each of 'answers' needs 'answer', a text, not {shorten(wrong)}")


def _is_answer(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("answer"), str)
