"""Commands typed over a cache, or with a prompt, of which one byte is changed."""

import random
from collections.abc import Callable
from pathlib import Path

from .flips import RUN, write_byte
from .workshop import (
    CONVERT,
    EXTRACT,
    TRAIN,
    copy,
    files_of,
    lay_out,
    outcome,
    run_contents,
    type_in,
)

_PREDICT = ("predict", RUN, "data/0.png", "--text", "nice day", "--output", "answers.jsonl")
_EXPLAIN = ("explain", RUN, "--data", "data")

#: What is typed, and what of its outcome may not change without a word.
COMMANDS: dict[str, tuple[tuple[str, ...], Callable[[Path], object]]] = {
    "train": (TRAIN, run_contents),
    "eval": (("eval", RUN, "--device", "cpu"), run_contents),
    "predict": ((*_PREDICT, "--device", "cpu"), lambda work: (work / "answers.jsonl").read_text()),
    "explain": (
        (*_EXPLAIN, "--device", "cpu"),
        lambda work: explained(work),
    ),
    "convert": (CONVERT, lambda work: features_of(work)),
    "inspect": (("inspect",), lambda _: None),
    "verify": (("verify",), lambda _: None),
}


def main(folder: Path, flips: int, commands: int) -> dict[str, object]:
    """Return what came of so many flips, each under some of the commands in turn."""
    lay_out(folder / "start", pictures=9, clips=2)
    work = copy(folder / "start", folder / "work")
    type_in(EXTRACT, work)
    type_in(TRAIN, work)
    whole = copy(work, folder / "whole")
    expected: dict[str, tuple[str, object]] = {}
    drawn, counts = random.Random(8), {"told": 0, "harmless": 0, "silent": 0}  # noqa: S311
    bad: list[str] = []
    paths = [f"pf/cache/{name}" for name in files_of(whole)] + [f"{RUN}/prompt.safetensors"]
    paths = [path for path in paths if (whole / path).stat().st_size]
    for number in range(flips):
        path = whole / drawn.choice(paths)
        place, change = drawn.randrange(path.stat().st_size), 1 << drawn.randrange(8)
        for turn in range(commands):
            name = list(COMMANDS)[(number * commands + turn) % len(COMMANDS)]
            if name not in expected:
                said = type_in(COMMANDS[name][0], copy(whole, work))
                expected[name] = (said, COMMANDS[name][1](work))
            copy(whole, work)
            flipped = work / path.relative_to(whole)
            write_byte(flipped, place, flipped.read_bytes()[place] ^ change)
            how = judged(name, work, flipped, expected[name])
            counts[how] += 1
            if how == "silent":
                bad.append(f"{name} with byte {place} of {path.name} changed by {change}")
    return {**counts, "bad": bad}


def judged(name: str, work: Path, flipped: Path, expected: tuple[str, object]) -> str:
    """Return what came of a command over a flipped byte; a crash or traceback raises."""
    command, result = COMMANDS[name]
    status, said = outcome(command, work)
    if flipped.name in said:
        return "told"
    same = said == expected[0] if name in ("inspect", "verify") else result(work) == expected[1]
    return "harmless" if status == 0 and same else "silent"


def features_of(work: Path) -> dict[str, str]:
    """Return the files of the features, which is all that a conversion reads."""
    return {name: sha for name, sha in files_of(work).items() if name.startswith("features")}


def explained(work: Path) -> dict[str, bytes]:
    """Return what was explained."""
    return {str(path.name): path.read_bytes() for path in (work / RUN / "explain").rglob("*.json")}
