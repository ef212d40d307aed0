"""Single bytes changed in what is read: each is told of, by the file's name, or harmless."""

import json
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch

from promptfuse.cache.examples import read_dataset, read_examples, read_failures
from promptfuse.cache.store import FeatureSet
from promptfuse.errors import PromptFuseError
from promptfuse.train.checkpoint import load_checkpoint, save_checkpoint
from promptfuse.train.state import TrainState
from promptfuse.train.trained import load_prompt

from . import workshop
from .workshop import (
    EXTRACT,
    TRAIN,
    files_of,
    lay_out,
    type_in,
)

_OUTCOMES = ("told", "harmless", "silent", "not named", "raised", "crashed")
RUN = "pf/runs/0001-mine-promptfuse-full-seed0"


def main(folder: Path, part: str, step: int) -> dict[str, object]:
    """Return what came of two flips of every `step`-th byte, and where it was none of the best."""
    readers = {"prompt": of_prompt, "checkpoint": of_checkpoint}.get(part)
    found = dict.fromkeys(_OUTCOMES, 0)
    bad: list[str] = []
    for path, read in readers(folder) if readers else of_cache(folder, part):
        places = range(len(path.name) % step, path.stat().st_size, step)
        for place, value, outcome_of, said in flipped(path, read, places):
            found[outcome_of] += 1
            if outcome_of not in ("told", "harmless"):
                bad.append(f"{path.name}, byte {place} to {value}: {outcome_of}: {said}")
    return {**found, "bad": bad[:20]}


def of_cache(folder: Path, shard_format: str) -> Iterator[tuple[Path, Callable[[], object]]]:
    """Yield every file of a small cache, with what reads the part that it belongs to."""
    lay_out(folder, pictures=3, clips=1)
    type_in((*EXTRACT, "--format", shard_format), folder)
    root = folder / "pf" / "cache"
    for name in files_of(folder):
        kind, *rest = Path(name).parts
        if kind == "examples":
            yield root / name, partial(dataset_contents, root)
        else:
            yield root / name, partial(set_contents, root.joinpath(kind, *rest[:2]))


def dataset_contents(root: Path) -> object:
    """Return all that is said of the dataset."""
    info = read_dataset(root, "mine")
    rows = [list(read_examples(root, info.name, split)) for split in info.splits]
    return info, rows, read_failures(root, info.name)


def set_contents(path: Path) -> object:
    """Return all that is in a feature set."""
    features = FeatureSet.open(path)
    rows = {
        spec.name: (packed.values.tobytes(), packed.offsets.tobytes())
        for spec in features.manifest.fields
        for packed in [features.read(features.keys, spec.name)]
    }
    return features.manifest, features.keys, rows, features.failures


def of_prompt(folder: Path) -> Iterator[tuple[Path, Callable[[], object]]]:
    """Yield a run's prompt."""
    lay_out(folder, pictures=9, clips=1)
    type_in(EXTRACT, folder)
    type_in(TRAIN, folder)
    path = folder / RUN / "prompt.safetensors"

    def read() -> object:
        prompt = load_prompt(path)
        values = {name: tensor.tolist() for name, tensor in prompt.parameters.items()}
        return prompt.about, prompt.manifests, values

    yield path, read


def of_checkpoint(folder: Path) -> Iterator[tuple[Path, Callable[[], object]]]:
    """Yield a checkpoint of some steps of Adam."""
    folder.mkdir(parents=True, exist_ok=True)

    def state() -> TrainState:
        prompt = torch.nn.Parameter(torch.arange(12.0).reshape(3, 4))
        return TrainState({"prompt": prompt}, torch.optim.Adam([prompt]))

    path, trained = folder / "checkpoint.safetensors", state()
    for _ in range(2):
        trained.parameters["prompt"].square().sum().backward()
        trained.optimizer.step()
        trained.step += 1
        trained.losses.append(0.5)
    save_checkpoint(path, trained)

    def read() -> object:
        held = state()
        load_checkpoint(path, held)
        moments = held.optimizer.state[held.parameters["prompt"]]
        numbers = {name: value.tolist() for name, value in moments.items()}
        return held.parameters["prompt"].tolist(), numbers, held.step, held.losses

    yield path, read


def flipped(
    path: Path, read: Callable[[], object], places: range
) -> Iterator[tuple[int, int, str, str]]:
    """Yield, for each place and changed value, what reading came to; read in children."""
    wanted = [(place, change) for place in places for change in (3, 1 << place % 8)]
    first = read()
    while wanted:
        done = list(_in_child(path, read, first, wanted))
        yield from done
        wanted = wanted[len(done) :]
        if wanted:
            (place, change), *wanted = wanted
            write_byte(path, place, change ^ path.read_bytes()[place])  # as it was
            yield place, change, "crashed", "a signal"


def _in_child(
    path: Path, read: Callable[[], object], first: object, wanted: list[tuple[int, int]]
) -> Iterator[tuple[int, int, str, str]]:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            with os.fdopen(writing, "w") as stream:
                for place, change in wanted:
                    value = path.read_bytes()[place]
                    write_byte(path, place, value ^ change)
                    found = (place, value ^ change, *_judged(path, read, first))
                    write_byte(path, place, value)
                    stream.write(json.dumps(found) + "\n")
                    stream.flush()
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as stream:
        yield from (tuple(json.loads(line)) for line in stream)
    workshop.wait(child)


def write_byte(path: Path, place: int, value: int) -> None:
    """Change one byte of a file by an ordinary write."""
    with path.open("r+b") as stream:
        stream.seek(place)
        stream.write(bytes([value]))


def _judged(path: Path, read: Callable[[], object], first: object) -> tuple[str, str]:
    try:
        return ("harmless", "") if read() == first else ("silent", "other contents")
    except PromptFuseError as error:
        return ("told" if path.name in str(error) else "not named"), str(error)[:300]
    except Exception as error:  # noqa: BLE001  (which is what is looked for)
        return "raised", repr(error)[:300]
