"""What a dataset of many examples costs to read: the first ingest, and an idle one.

    python benchmarks/ingest.py [--rows 10000000]

Writes annotations as large as VQAv2's and a small file an image, or a table of so many rows about
one hundred images, into a temporary folder; each step is then measured in a process of its own.
"""

import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from promptfuse.extract.datasets import Source
from promptfuse.extract.datasets.ingest import ingest, recall

# Split → questions, and where its question ids begin; an image has about five.
SPLITS = {"train2014": (443_757, 0), "val2014": (214_354, 500_000)}
QUESTIONS_AN_IMAGE = 5.35
WORDS = ["what", "is", "the", "color", "of", "this", "cat", "how", "many", "people", "on", "table"]
ANSWERS = ["yes", "no", "red", "blue", "two", "three", "cat", "dog", "man", "tennis", "white"]
TABLE_IMAGES = 100


def write_vqav2(root: Path) -> Path:
    """Return a folder with annotations like VQAv2's, and the images that they name."""
    draw = random.Random(0)  # noqa: S311  # words, not secrets
    for split, (count, first) in SPLITS.items():
        places = {first + number: int(number / QUESTIONS_AN_IMAGE) for number in range(count)}
        questions = (
            {"image_id": image, "question": " ".join(draw.choices(WORDS, k=7)), "question_id": id_}
            for id_, image in places.items()
        )
        annotations = (annotation(draw, id_, image) for id_, image in places.items())
        write_list(root / f"v2_OpenEnded_mscoco_{split}_questions.json", "questions", questions)
        write_list(root / f"v2_mscoco_{split}_annotations.json", "annotations", annotations)
        (root / split).mkdir()
        for image in range(places[first + count - 1] + 1):
            path = root / split / f"COCO_{split}_{image:012d}.jpg"
            path.write_text(f"{split} {image}")
    return root


def annotation(draw: random.Random, id_: int, image: int) -> dict[str, object]:
    """Return what ten people answered."""
    given = [
        {"answer": answer, "answer_confidence": "yes", "answer_id": number}
        for number, answer in enumerate(draw.choices(ANSWERS, k=10), start=1)
    ]
    kinds = {"question_type": "what is", "answer_type": "other"}
    ids = {"image_id": image, "question_id": id_}
    return {**kinds, **ids, "multiple_choice_answer": given[0]["answer"], "answers": given}


def write_list(path: Path, name: str, values: Iterable[object]) -> None:
    """Write a JSON object that holds a long list."""
    with path.open("w") as stream:
        stream.write(f'{{"info": {{}}, "{name}": [')
        for number, value in enumerate(values):
            stream.write((", " if number else "") + json.dumps(value))
        stream.write("]}")


def write_table(root: Path, rows: int) -> Path:
    """Return a table in JSON lines, with the images that it names beside it."""
    draw = random.Random(0)  # noqa: S311  # words, not secrets
    for number in range(TABLE_IMAGES):
        (root / f"{number}.jpg").write_text(str(number))
    path = root / "rows.jsonl"
    with path.open("w") as stream:
        for number in range(rows):
            text = " ".join(draw.choices(WORDS, k=8))
            row = {"id": f"r{number}", "text": text, "answer": draw.choice(ANSWERS), "speaker": "A"}
            stream.write(json.dumps({**row, "image": f"{number % TABLE_IMAGES}.jpg"}) + "\n")
    return path


def step(adapter: str, data: Path, cache: Path) -> str:
    """Return what one ingest of a dataset took, in words."""
    started, busy = time.perf_counter(), time.process_time()
    source = Source(adapter, data, "d")
    origin = source.origin()
    found = recall(cache, "d", origin) if origin else None
    kind = "first" if found is None else "idle"
    found = found or ingest(source.read(), cache)
    seconds, own = time.perf_counter() - started, time.process_time() - busy
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    counts = f"{sum(found.info.splits.values()):,} examples, {len(found.media):,} media"
    return f"{kind}: {counts}, {seconds:.1f} s ({own:.1f} s of processor), {peak:.0f} MB at most"


def main(
    rows: Annotated[int, typer.Option(help="Of a table, in place of VQAv2.")] = 0,
    adapter: Annotated[str, typer.Option(hidden=True)] = "",
    data: Annotated[Path, typer.Option(hidden=True)] = Path(),
    cache: Annotated[Path, typer.Option(hidden=True)] = Path(),
) -> None:
    """Measure the first ingest of a large dataset, and an idle one."""
    if adapter:
        print(step(adapter, data, cache))
        return
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "data"
        root.mkdir()
        named, data = ("table", write_table(root, rows)) if rows else ("vqav2", write_vqav2(root))
        time.sleep(3)  # what has just changed is not remembered
        for _ in range(3):
            options = ["--adapter", named, "--data", data, "--cache", Path(folder) / "cache"]
            subprocess.run([sys.executable, __file__, *options], check=True)


if __name__ == "__main__":
    typer.run(main)
