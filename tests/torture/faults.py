"""A command meets a fault of the disk, says so, and typed again ends as if there had been none."""

import ctypes
import errno
import mmap
import os
import random
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

from . import workshop
from .kills import TASKS, finish
from .workshop import copy, files_of, lay_out, outcome, run_contents, smallest_files

_CALLS = ("fsync", "replace", "link", "unlink", "mkdir", "truncate")
_CAPABILITIES_VERSION = 0x20080522

Before = Callable[[], None]


def main(folder: Path, name: str, fault: str, times: int) -> dict[str, int]:
    """Return how often a fault made a command fail, and how often it then ended otherwise."""
    task, ended_with = TASKS[name], trained if name == "train" else files_of
    lay_out(folder / "start")
    work = copy(folder / "start", folder / "work")
    for earlier in task.before:
        workshop.type_in(earlier, work)
    start, calls = copy(work, folder / "before"), Calls()
    outcome(task.command, work, calls.failing(never))
    expected = ended_with(work)
    assert expected, f"{name} left nothing to compare"
    counts = {"refused": 0, "passed over": 0, "another end": 0}
    for setting in FAULTS[fault](random.Random(8), times, calls):  # noqa: S311
        copy(start, work)
        status, said = outcome(task.command, work, setting)
        assert status == 0 or "error:" in said, said
        counts["refused" if status else "passed over"] += 1
        let_write(work)
        finish(task, work)
        counts["another end"] += ended_with(work) != expected
    return counts


def trained(folder: Path) -> dict[str, object]:
    """Return what runs have trained, without their numbers: a failed one's is not used again."""
    return {name[len("0001-") :]: value for name, value in run_contents(folder).items()}


class Calls:
    """The calls that change a disk, counted over all processes, of which some fail."""

    def __init__(self) -> None:
        self._shared = mmap.mmap(-1, 8)

    @property
    def count(self) -> int:
        """How many there were since the last process was told which ones fail."""
        return int.from_bytes(self._shared[:8], "little")

    def failing(self, fails: Callable[[int], bool]) -> Before:
        """Return what makes a process's calls of these numbers, from 1, fail."""

        def patch() -> None:
            self._shared[:8] = bytes(8)
            for name in _CALLS:
                setattr(os, name, self._counted(getattr(os, name), fails))

        return patch

    def _counted(self, call: Callable, fails: Callable[[int], bool]) -> Callable:
        def counted(*given: object, **named: object) -> object:
            self._shared[:8] = (self.count + 1).to_bytes(8, "little")
            if fails(self.count):
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return call(*given, **named)

        return counted


def never(_: int) -> bool:
    """Return False: no call fails."""
    return False


def full_disk(drawn: random.Random, times: int, _: Calls) -> Iterator[Before]:
    """Yield what lets no file become larger than some sizes."""
    for _ in range(times):
        yield smallest_files(int(10 ** drawn.uniform(1.5, 4.5)))


def errors_once(drawn: random.Random, times: int, calls: Calls) -> Iterator[Before]:
    """Yield what makes one call fail, each in turn where there are not too many."""
    for number in sorted(drawn.sample(range(1, calls.count + 1), min(times, calls.count))):
        yield calls.failing(lambda call, number=number: call == number)


def errors_from(drawn: random.Random, times: int, calls: Calls) -> Iterator[Before]:
    """Yield what makes every call fail from one on, as of a disk that is gone."""
    for number in sorted(drawn.sample(range(1, calls.count + 1), min(times, calls.count))):
        yield calls.failing(lambda call, number=number: call >= number)


def no_permission(_: random.Random, times: int, __: Calls) -> Iterator[Before]:
    """Yield what forbids to write in one folder, even to a superuser."""
    places = [".", "pf", "pf/cache", "pf/cache/examples", "pf/cache/examples/mine"]
    places += ["pf/cache/features", "pf/cache/features/image", "pf/runs"]
    for place in places[:times]:

        def forbid(place: str = place) -> None:
            Path(place).mkdir(parents=True, exist_ok=True)
            for path in (Path(place), *Path(place).rglob("*")) if place != "." else (Path(),):
                path.chmod(0o555 if path.is_dir() else 0o444)
            renounce()

        yield forbid


def renounce() -> None:
    """Give up a superuser's right to write what may only be read."""
    header = struct.pack("Ii", _CAPABILITIES_VERSION, 0)
    ctypes.CDLL(None, use_errno=True).capset(header, bytes(24))


def let_write(folder: Path) -> None:
    """Allow again to write in a folder and below."""
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)


FAULTS = {
    "a full disk": full_disk,
    "one I/O error": errors_once,
    "a disk that is gone": errors_from,
    "a folder without permission": no_permission,
}
