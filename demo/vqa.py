"""Write pictures of coloured shapes with questions, in VQAv2's layout."""

import json
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, ClassVar

from PIL import Image
from tqdm import tqdm

from ..errors import ConfigError
from . import words
from .media import render_scene

ANSWERS_PER_QUESTION = 10
MAX_QUESTIONS = 20  # different ones that can be asked about one scene
FIRST_IMAGE = {"train": 9, "val": 42}
YEAR = {"train": "train2014", "val": "val2014"}


@dataclass(frozen=True)
class Vqa:
    """How many images each split has, and how many questions an image has."""

    unit: ClassVar = "image"
    train: int = 520
    val: int = 150
    questions: int = 4

    def __post_init__(self) -> None:
        if not 1 <= self.questions <= MAX_QUESTIONS:
            raise ConfigError(
                f"questions an image must be 1 to {MAX_QUESTIONS}, not {self.questions}"
            )

    def write(self, root: Path, seed: int) -> None:
        """Write each split's images, then its JSON files under their official names."""
        for split, year in YEAR.items():
            rng = Random(f"vqa/{split}/{seed}")
            (root / year).mkdir()
            questions: list[dict[str, Any]] = []
            annotations: list[dict[str, Any]] = []
            image_id = FIRST_IMAGE[split]
            for _ in tqdm(range(getattr(self, split)), year, unit=self.unit, disable=None):
                image_id += rng.randrange(1, 400)
                scene = words.draw_scene(rng)
                path = root / year / f"COCO_{year}_{image_id:012d}.jpg"
                Image.fromarray(render_scene(scene, rng)).save(path, quality=92)
                for number, question in enumerate(_questions(scene, self.questions, rng)):
                    ids = {"image_id": image_id, "question_id": image_id * 1000 + number}
                    questions.append(ids | {"question": question.text})
                    annotations.append(ids | _annotation(question, rng))
            head = {"info": {"description": "generated"}, "data_subtype": year}
            head |= {"data_type": "mscoco"}
            for name, body in (
                (f"v2_OpenEnded_mscoco_{year}_questions.json", {"questions": questions}),
                (f"v2_mscoco_{year}_annotations.json", {"annotations": annotations}),
            ):
                (root / name).write_text(json.dumps(head | body), encoding="utf-8")


def _questions(scene: words.Scene, count: int, rng: Random) -> list[words.Question]:
    """Return `count` different questions on a scene."""
    chosen: dict[str, words.Question] = {}
    while len(chosen) < count:
        question = words.ask(scene, rng)
        chosen.setdefault(question.text, question)
    return list(chosen.values())


def _annotation(question: words.Question, rng: Random) -> dict[str, Any]:
    """Return the annotation of a question: ten people's answers, of which a few may differ."""
    right = question.answer
    dissent = rng.choice((1, 1, 2, 3)) if rng.random() < 0.2 else 0
    answers = [right] * (ANSWERS_PER_QUESTION - dissent)
    answers += [
        str(max(int(right) + rng.choice((-1, 1)), 0)) if right.isdigit() else words.DISSENT[right]
        for _ in range(dissent)
    ]
    rng.shuffle(answers)
    return {
        "question_type": " ".join(question.text.split()[:2]),
        "answer_type": question.answer_type,
        "multiple_choice_answer": right,
        "answers": [
            {
                "answer": answer,
                "answer_confidence": "yes" if answer == right else "maybe",
                "answer_id": number,
            }
            for number, answer in enumerate(answers, start=1)
        ],
    }
