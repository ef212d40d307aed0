"""Write pictures of coloured shapes with questions, in VQAv2's layout."""
# ruff: noqa: S311 (content is drawn from a seed; nothing here is a secret)

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from PIL import Image

from ..errors import ConfigError
from . import words
from .generate import Generator
from .scenes import render_scene

ANSWERS_PER_QUESTION = 10
MAX_QUESTIONS = 20  # different ones that can be asked about one scene
FIRST_IMAGE = {"train": 9, "val": 42}
YEAR = {"train": "train2014", "val": "val2014"}


@dataclass(frozen=True)
class VqaSize:
    """How many images each split has, and how many questions an image has."""

    train: int = 520
    val: int = 150
    questions: int = 4

    @property
    def media(self) -> int:
        """The number of images."""
        return self.train + self.val

    def __post_init__(self) -> None:
        if not 1 <= self.questions <= MAX_QUESTIONS:
            raise ConfigError(
                f"questions an image must be 1 to {MAX_QUESTIONS}, not {self.questions}"
            )


def write_vqa(root: Path, seed: int, size: VqaSize, workers: int) -> Iterator[None]:  # noqa: ARG001
    """Yield once an image that is in the folder; a split's JSON files follow its last."""
    for split, count in (("train", size.train), ("val", size.val)):
        rng = Random(f"vqa/{split}/{seed}")
        (root / YEAR[split]).mkdir()
        questions: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        image_id = FIRST_IMAGE[split]
        for _ in range(count):
            image_id += rng.randrange(1, 400)
            scene = words.draw_scene(rng)
            path = root / YEAR[split] / f"COCO_{YEAR[split]}_{image_id:012d}.jpg"
            Image.fromarray(render_scene(scene, rng)).save(path, quality=92)
            for number, question in enumerate(_questions(scene, size.questions, rng)):
                ids = {"image_id": image_id, "question_id": image_id * 1000 + number}
                questions.append(ids | {"question": question.text})
                annotations.append(ids | _annotation(question, rng))
            yield
        _write_split(root, split, questions, annotations)


def _questions(scene: words.Scene, count: int, rng: Random) -> list[words.Question]:
    """Return `count` different questions on a scene."""
    chosen: dict[str, words.Question] = {}
    while len(chosen) < count:
        question = words.ask(scene, rng)
        chosen.setdefault(question.text, question)
    return list(chosen.values())


def _annotation(question: words.Question, rng: Random) -> dict[str, Any]:
    """Return the annotation of a question: ten people's answers, of which a few may differ."""
    dissent = rng.choice((1, 1, 2, 3)) if rng.random() < 0.2 else 0
    answers = [question.answer] * (ANSWERS_PER_QUESTION - dissent)
    answers += [_dissenting(question.answer, rng) for _ in range(dissent)]
    rng.shuffle(answers)
    return {
        "question_type": question.question_type,
        "answer_type": question.answer_type,
        "multiple_choice_answer": question.answer,
        "answers": [
            {
                "answer": answer,
                "answer_confidence": "yes" if answer == question.answer else "maybe",
                "answer_id": number,
            }
            for number, answer in enumerate(answers, start=1)
        ],
    }


def _dissenting(answer: str, rng: Random) -> str:
    """Return what somebody says who does not give the right answer."""
    if answer.isdigit():
        return str(max(int(answer) + rng.choice((-1, 1)), 0))
    return words.DISSENT[answer]


def _write_split(
    root: Path, split: str, questions: list[dict[str, Any]], annotations: list[dict[str, Any]]
) -> None:
    """Write the questions and the annotations of a split under their official names."""
    head = {"info": {"description": "generated"}, "data_subtype": YEAR[split]}
    head |= {"data_type": "mscoco"}
    files = {
        f"v2_OpenEnded_mscoco_{YEAR[split]}_questions.json": {"questions": questions},
        f"v2_mscoco_{YEAR[split]}_annotations.json": {"annotations": annotations},
    }
    for name, body in files.items():
        (root / name).write_text(json.dumps(head | body), encoding="utf-8")


VQA = Generator(VqaSize(), "image", write_vqa)
