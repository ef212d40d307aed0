"""What the annotations of a large dataset cost to read: a first ingest, and an idle one."""

import json
import random
import shutil
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from .bench import Line, Taken, run_apart
from .machine import Machine

SPLITS = {"train2014": (443_757, 0), "val2014": (214_354, 500_000)}
"""VQAv2's numbers of questions, and where a split's ids begin."""

_QUESTIONS_AN_IMAGE = 5.35
_WORDS = ["what", "is", "the", "color", "of", "this", "cat", "how", "many", "people", "on", "table"]
_ANSWERS = ["yes", "no", "red", "blue", "two", "three", "cat", "dog", "man", "tennis", "white"]
_TABLE_ROWS, _TABLE_IMAGES = 1_000_000, 100

_INGEST = """
import sys
from pathlib import Path
from promptfuse.extract.datasets import Source
from promptfuse.extract.datasets.ingest import ingest, recall
adapter, data, cache = sys.argv[1], *map(Path, sys.argv[2:])
source = Source(adapter, data, "d")
recall(cache, "d", source.origin()) or ingest(source.read(), cache)
"""


def lines(machine: Machine) -> Iterator[Line]:  # noqa: ARG001
    """Yield two lines of VQAv2's size, a small file an image; two of a table, its images few."""
    with TemporaryDirectory() as made:
        root = Path(made)
        vqav2 = write_vqav2(root / "vqav2"), sum(count for count, _ in SPLITS.values())
        table = write_table(root / "table", _TABLE_ROWS), _TABLE_ROWS
        for adapter, (data, rows) in {"vqav2": vqav2, "table": table}.items():
            idle = partial(ingest_apart, adapter, data, root / adapter / "cache")
            first = partial(_anew, idle, root / adapter / "cache")
            for kind, run in (("first ingest", first), ("ingest again", idle)):
                work = f"{kind} of {rows:,} examples ({adapter})"
                yield Line(work, {"promptfuse": run}, amount=rows, unit="examples", once=True)


def ingest_apart(adapter: str, data: Path, cache: Path) -> Taken:
    """Ingest a dataset named `d` in a process of its own, unless that is known to be done."""
    return run_apart("-c", _INGEST, adapter, str(data), str(cache))


def _anew(run: partial[Taken], cache: Path) -> Taken:
    shutil.rmtree(cache, ignore_errors=True)
    return run()


def write_vqav2(root: Path) -> Path:
    """Return a folder with annotations like VQAv2's, and the images that they name."""
    draw = random.Random(0)  # noqa: S311  # words, not secrets
    for split, (count, first) in SPLITS.items():
        places = {first + number: int(number / _QUESTIONS_AN_IMAGE) for number in range(count)}
        (root / split).mkdir(parents=True)
        for image in range(places[first + count - 1] + 1):
            (root / split / f"COCO_{split}_{image:012d}.jpg").write_text(f"{split} {image}")
        questions = (
            {"image_id": image, "question": _words(draw, 7), "question_id": id_}
            for id_, image in places.items()
        )
        annotations = (_annotation(draw, id_, image) for id_, image in places.items())
        _write_list(root / f"v2_OpenEnded_mscoco_{split}_questions.json", "questions", questions)
        _write_list(root / f"v2_mscoco_{split}_annotations.json", "annotations", annotations)
    return root


def write_table(root: Path, rows: int) -> Path:
    """Return a folder with a table in JSON lines, and the images that it names."""
    draw = random.Random(0)  # noqa: S311  # words, not secrets
    root.mkdir()
    for number in range(_TABLE_IMAGES):
        (root / f"{number}.jpg").write_text(str(number))
    with (root / "rows.jsonl").open("w") as stream:
        for number in range(rows):
            said = {"id": f"r{number}", "text": _words(draw, 8), "answer": draw.choice(_ANSWERS)}
            row = {**said, "speaker": "A", "image": f"{number % _TABLE_IMAGES}.jpg"}
            stream.write(json.dumps(row) + "\n")
    return root


def _annotation(draw: random.Random, id_: int, image: int) -> dict[str, object]:
    """Return what ten people answered."""
    given = [
        {"answer": answer, "answer_confidence": "yes", "answer_id": number}
        for number, answer in enumerate(draw.choices(_ANSWERS, k=10), start=1)
    ]
    kinds = {"question_type": "what is", "answer_type": "other"}
    ids = {"image_id": image, "question_id": id_}
    return {**kinds, **ids, "multiple_choice_answer": given[0]["answer"], "answers": given}


def _words(draw: random.Random, count: int) -> str:
    return " ".join(draw.choices(_WORDS, k=count))


def _write_list(path: Path, name: str, values: Iterable[object]) -> None:
    """Write a JSON object that holds a long list."""
    with path.open("w") as stream:
        stream.write(f'{{"info": {{}}, "{name}": [')
        for number, value in enumerate(values):
            stream.write((", " if number else "") + json.dumps(value))
        stream.write("]}")
