"""What a bench is: kinds of work that contenders do in turns, so that noise meets all alike."""

import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

from tqdm import tqdm

from ..tables import Cell, Table
from .machine import Machine

_LEAST_SECONDS = 0.05  # of one timing: what is shorter is done several times

# Linux counts a parent's memory as its child's, so a small process starts what is measured.
_WATCH = """
import os, subprocess, sys, time
began = time.perf_counter()
process = subprocess.Popen(sys.argv[1:], stdout=sys.stderr)
_, status, usage = os.wait4(process.pid, 0)
print(time.perf_counter() - began, usage.ru_maxrss * 1024)
sys.exit(os.waitstatus_to_exitcode(status))
"""


@dataclass(frozen=True)
class Taken:
    """What a contender that measures itself says: a command's seconds and its peak memory."""

    seconds: float
    peak_bytes: int | None = None


Contender = Callable[[], object]
"""Does the work once; what it returns is ignored, unless it is `Taken`."""


def run_apart(*arguments: str, folder: Path | None = None) -> Taken:
    """Run Python with these arguments in a process of its own, in a folder."""
    command = [sys.executable, "-c", _WATCH, sys.executable, *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{arguments} failed: {done.stderr[-1000:]}")
    seconds, peak_bytes = done.stdout.split()
    return Taken(float(seconds), int(peak_bytes))


@dataclass(frozen=True)
class Line:
    """One kind of work.

    Attributes:
        contenders: Who does it, ours first; the others are compared with that.
        floor_seconds: What the work takes at the machine's own rates, by count.
        amount: How much one call does, in `unit`, for a rate; None shows none.
        absent: Peers that cannot run here, and what would let them.
        once: A call is a whole command: it is neither warmed up nor repeated within a round.
    """

    work: str
    contenders: Mapping[str, Contender]
    floor_seconds: float | None = None
    amount: float | None = None
    unit: str = ""
    absent: Mapping[str, str] = field(default_factory=dict)
    once: bool = False


@dataclass(frozen=True)
class Figure:
    """A contender's median seconds a call, and its highest memory where it told."""

    seconds: float
    peak_bytes: int | None


def measure(line: Line, machine: Machine, *, rounds: int) -> dict[str, Figure]:
    """Return each contender's figure over so many rounds, in each of which all take a turn."""
    repeats = {
        name: 1 if line.once else _repeats(run, machine) for name, run in line.contenders.items()
    }
    taken: dict[str, list[Taken]] = {name: [] for name in line.contenders}
    for _ in range(rounds):
        for name, run in line.contenders.items():
            taken[name].append(_timed(run, machine, repeats[name]))
    return {name: _figure(times) for name, times in taken.items()}


def _repeats(run: Contender, machine: Machine) -> int:
    """Return how many calls make one timing, after a first call that warms up."""
    run()
    seconds = _timed(run, machine, 1).seconds
    return max(1, round(_LEAST_SECONDS / max(seconds, 1e-7)))


def _timed(run: Contender, machine: Machine, repeats: int) -> Taken:
    machine.synchronise()
    began, said = perf_counter(), None
    for _ in range(repeats):
        said = run()
    machine.synchronise()
    seconds = (perf_counter() - began) / repeats
    return said if isinstance(said, Taken) else Taken(seconds)


def _figure(times: Sequence[Taken]) -> Figure:
    peaks = [taken.peak_bytes for taken in times if taken.peak_bytes is not None]
    return Figure(statistics.median(taken.seconds for taken in times), max(peaks, default=None))


def bench_table(
    title: str, lines: Iterable[Line], machine: Machine, *, rounds: int, quiet: bool = False
) -> Table:
    """Return a bench's table, a row a contender of each line."""
    rows: list[list[Cell]] = []
    for line in tqdm(lines, desc=title, unit="line", disable=quiet or None):
        rows += _rows(line, measure(line, machine, rounds=rounds))
    columns = ["work", "by", "seconds", "rate", "ours is faster", "× floor", "peak"]
    kept = [at for at, _ in enumerate(columns) if at < 3 or any(row[at] for row in rows)]
    return Table(
        f"{title} ({machine.name}; medians of {rounds})",
        [columns[at] for at in kept],
        [[row[at] for at in kept] for row in rows],
    )


def _rows(line: Line, figures: Mapping[str, Figure]) -> Iterator[list[Cell]]:
    """Yield a line's rows: its contenders, then its floor, then who could not run."""
    ours = next(iter(figures.values())).seconds
    for place, (name, figure) in enumerate(figures.items()):
        seconds, peak = figure.seconds, figure.peak_bytes
        yield [
            line.work if place == 0 else "",
            name,
            _spoken(seconds),
            line.amount and f"{line.amount / seconds:,.0f} {line.unit}/s",
            f"{seconds / ours:.2f} ×" if place else None,
            line.floor_seconds and f"{seconds / line.floor_seconds:.2f}",
            peak and f"{peak / 1e9:.2f} GB",
        ]
    if line.floor_seconds:
        floor, rate = line.floor_seconds, line.amount and line.amount / line.floor_seconds
        yield ["", "floor", _spoken(floor), rate and f"{rate:,.0f} {line.unit}/s", None, None, None]
    for name, why in line.absent.items():
        yield ["", f"{name} ({why})", None, None, None, None, None]


def _spoken(seconds: float) -> str:
    """Return seconds with three figures that count."""
    return f"{seconds:.3g}" if seconds < 100 else f"{seconds:.0f}"
