"""A cache that may only be read, as on a mount or of another user, is read as any other."""

from pathlib import Path

from .faults import let_write, renounce
from .workshop import EXTRACT, TRAIN, copy, lay_out, outcome, run_contents, type_in

RUN = "pf/runs/0001-mine-promptfuse-full-seed0"
READING = (("inspect",), ("verify",), ("eval", RUN, "--device", "cpu"), TRAIN)


def main(folder: Path) -> dict[str, int]:
    """Return how many commands were refused, or had another outcome than with a usual cache."""
    lay_out(folder / "start")
    work = copy(folder / "start", folder / "work")
    for command in (EXTRACT, TRAIN):
        type_in(command, work)
    whole, counts = copy(work, folder / "whole"), {"read": 0, "refused": 0, "otherwise": 0}
    for command in READING:
        expected = type_in(command, copy(whole, work)), run_contents(work)
        copy(whole, work)
        for path in (work / "pf" / "cache").rglob("*"):
            path.chmod(0o555 if path.is_dir() else 0o444)
        status, said = outcome(command, work, renounce)
        counts["refused"] += status != 0
        counts["read"] += status == 0
        same = said == expected[0] or command != ("inspect",)
        counts["otherwise"] += not (same and run_contents(work) == expected[1])
        let_write(work)
    return counts
