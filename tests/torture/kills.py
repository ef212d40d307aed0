"""One command, killed at random instants and typed again until it ends."""

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from promptfuse.errors import PromptFuseError

from . import workshop
from .workshop import cache_contents, copy, kill_after, lay_out, outcome, type_in


@dataclass(frozen=True)
class Task:
    """A command, what has to be done before it, what is typed after a kill, and what is compared.

    `valid` reads what an interrupted command left, which has to be a part of the whole.
    """

    before: Sequence[Sequence[str]]
    command: Sequence[str]
    again: Callable[[Path], Sequence[str]]
    contents: Callable[[Path], Mapping[str, object]]
    valid: Callable[[Path], Mapping[str, object]] | None = None


def train_again(folder: Path) -> Sequence[str]:
    """Return what the messages tell to type: go on with the run, if there is one."""
    runs = sorted((folder / "pf" / "runs").glob("[0-9]*/run.json"))
    return ("train", "--resume", str(runs[-1].parent)) if runs else workshop.TRAIN


TASKS = {
    "extract": Task(
        (), workshop.EXTRACT, lambda _: workshop.EXTRACT, cache_contents, cache_contents
    ),
    "convert": Task(
        (workshop.EXTRACT,),
        workshop.CONVERT,
        lambda _: workshop.CONVERT,
        cache_contents,
        cache_contents,
    ),
    "train": Task((workshop.EXTRACT,), workshop.TRAIN, train_again, workshop.run_contents),
    "sweep": Task(
        (workshop.EXTRACT,), workshop.SWEEP, lambda _: workshop.SWEEP, workshop.sweep_contents
    ),
}


def main(folder: Path, name: str, kills: int, seed: int) -> dict[str, int]:
    """Return the kills that fell into the work, and what was lost, doubled or changed by them.

    Damage that was not noticed would be a changed row: everything is read back.
    """
    task, instants = TASKS[name], random.Random(seed)  # noqa: S311
    lay_out(folder / "start")
    for command in task.before:
        type_in(command, folder / "start")
    whole = copy(folder / "start", folder / "whole")
    type_in(task.command, whole)
    started = time.perf_counter()
    type_in(task.command, copy(folder / "start", folder / "whole"))
    seconds, expected = time.perf_counter() - started, task.contents(whole)
    assert expected, f"{name} left nothing to compare"
    counts = dict.fromkeys(("kills", "ended", "lost", "doubled", "changed"), 0)
    while counts["kills"] < kills:
        work, acknowledged = copy(folder / "start", folder / "work"), {}
        while kill_after(task.again(work), work, instants.uniform(0, 1.05 * seconds)):
            counts["kills"] += 1
            acknowledged = compare(task.valid, work, acknowledged, expected, counts)
            if instants.random() < 0.5:  # otherwise another kill falls into what this one left
                finish(task, work)
                break
        tally(task.contents(work), expected, counts)
        counts["ended"] += 1
    return counts


def finish(task: Task, work: Path) -> None:
    """Type what goes on with the command, which may have been killed after its last write."""
    _, said = outcome(task.again(work), work)
    assert "error:" not in said or "is finished" in said, said


def compare(
    valid: Callable[[Path], Mapping[str, object]] | None,
    work: Path,
    acknowledged: dict[str, object],
    expected: Mapping[str, object],
    counts: dict[str, int],
) -> dict[str, object]:
    """Return what can be read after a kill: right, and with all that could be read before."""
    if valid is None:
        return acknowledged
    try:
        held = dict(valid(work))
    except PromptFuseError as error:
        raise AssertionError(f"after a kill the cache cannot be read: {error}") from error
    except AssertionError:
        counts["doubled"] += 1
        return acknowledged
    rows = {name: value for name, value in held.items() if "failures" not in name}
    counts["changed"] += sum(value != expected.get(name) for name, value in rows.items())
    counts["lost"] += len(acknowledged.keys() - rows.keys())
    return rows


def tally(
    held: Mapping[str, object], expected: Mapping[str, object], counts: dict[str, int]
) -> None:
    """Count where the end differs from an undisturbed one."""
    counts["lost"] += len(expected.keys() - held.keys())
    counts["doubled"] += len(held.keys() - expected.keys())
    counts["changed"] += sum(held[name] != expected[name] for name in held.keys() & expected.keys())
