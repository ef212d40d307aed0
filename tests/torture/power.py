"""Power cuts: what a command did to the disk, and the folders that it may be found in after one.

A child notes each call that changes the disk. From these every state is made that a cut may leave:
contents that were not synced are gone, and of the names that were not synced none, all or some are
there. A file whose content was never synced is empty.
"""

import base64
import json
import os
import random
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from promptfuse.cache.store import FeatureWriter
from promptfuse.errors import PromptFuseError

from . import workshop
from .workshop import CONVERT, EXTRACT, cache_contents, copy, files_of, lay_out, start, type_in

Operation = list[str]


def main(folder: Path, name: str, media: list[int], subsets: int, again: float) -> dict[str, int]:
    """Return how many states there are, and in how many rows are lost, changed or unreadable.

    In that part of them, `again`, the command is typed again, which has to end as it did.
    """
    command = {"extract": EXTRACT, "convert": CONVERT}[name]
    lay_out(folder / "start", pictures=media[0], clips=media[1])
    work = copy(folder / "start", folder / "work")
    if name == "convert":
        type_in(EXTRACT, work)
    disk = Disk.of(work)
    child = start(command, work, noting(folder / "operations.json", work))
    assert workshop.wait(child) == 0
    expected, files = cache_contents(work), files_of(work)
    counts = dict.fromkeys(("operations", "states", "unreadable", "lost", "changed", "ended"), 0)
    seen, drawn = set[int](), random.Random(8)  # noqa: S311
    acknowledged = {row for row in expected if not row.endswith("/failures")}
    acknowledged = acknowledged if name == "convert" else set()
    for operation in json.loads((folder / "operations.json").read_text()):
        if operation[0] == "acknowledged":
            acknowledged.update(operation[1:])
            continue
        disk.apply(operation)
        counts["operations"] += 1
        for state in disk.states(drawn, subsets):
            key = hash(frozenset(state.items()))
            if key in seen:
                continue
            seen.add(key)
            counts["states"] += 1
            lay_state(state, work)
            judge(work, expected, acknowledged, counts)
            if drawn.random() < again:
                type_in(command, work)
                assert files_of(work) == files, "the command typed again ended otherwise"
                counts["ended"] += 1
    return counts


def judge(
    work: Path, expected: Mapping[str, object], acknowledged: set[str], counts: dict[str, int]
) -> None:
    """Count what is wrong with what can be read after a cut."""
    try:
        held = cache_contents(work)
    except PromptFuseError as error:
        counts["unreadable"] += 1
        print(f"after a power cut: {error}")
        return
    rows = {name: value for name, value in held.items() if not name.endswith("/failures")}
    counts["changed"] += any(value != expected.get(name) for name, value in rows.items())
    counts["lost"] += not acknowledged.issubset(rows)


def noting(path: Path, work: Path) -> Callable[[], None]:
    """Return what makes a process note, in a file, what it does to the disk below a folder."""

    def patch() -> None:
        noted: list[Operation] = []

        def keep(*operation: str) -> None:
            noted.append([*operation])
            path.write_text(json.dumps(noted))

        def inside(place: object) -> str | None:
            whole = os.path.abspath(os.fspath(place))  # noqa: PTH100
            return os.path.relpath(whole, work) if whole.startswith(f"{work}/pf") else None

        def wrapped(name: str, call: Callable) -> Callable:
            def noted_call(*given: object, **named: object) -> object:
                places = [
                    inside(place) for place in given[: 2 if name in ("link", "replace") else 1]
                ]
                result = call(*given, **named)
                if all(places):
                    keep(name, *places)
                return result

            return noted_call

        def fsync(descriptor: int) -> None:
            sync(descriptor)
            place = inside(os.readlink(f"/proc/self/fd/{descriptor}"))  # noqa: PTH115
            if place is not None:
                is_folder = (work / place).is_dir()
                keep("sync folder", place) if is_folder else keep("sync", place, content(place))

        def content(place: str) -> str:
            return base64.b64encode((work / place).read_bytes()).decode()

        sync = os.fsync
        os.fsync = fsync
        for name in ("link", "replace", "unlink", "mkdir", "rmdir", "rename"):
            setattr(os, name, wrapped(name, getattr(os, name)))
        commit = FeatureWriter.commit

        def acknowledging(writer: FeatureWriter) -> None:
            commit(writer)
            keep("acknowledged", *rows_named(writer))

        FeatureWriter.commit = acknowledging

    return patch


def rows_named(writer: FeatureWriter) -> list[str]:
    """Return the rows that a writer says are done, as `cache_contents` names them."""
    manifest = writer.manifest
    keys = [key for key in writer.done if key not in writer.failures]
    named = f"{manifest.modality}/{manifest.fingerprint}"
    return [f"{named}/{key.hex()}/{field}" for key in keys for field in manifest.names]


@dataclass
class Disk:
    """Files as they are, and as they are known to be after a cut.

    Attributes:
        names: Path → number of its content.
        contents: What was synced of each content.
        durable: The names that were synced.
        pending: The changes of names that were not, in order: (path, number or None).
    """

    names: dict[str, int] = field(default_factory=dict)
    contents: dict[int, bytes] = field(default_factory=dict)
    durable: dict[str, int] = field(default_factory=dict)
    pending: list[dict[str, int | None]] = field(default_factory=list)

    @classmethod
    def of(cls, work: Path) -> "Disk":
        """Return the disk on which a folder's cache has long been."""
        disk = cls()
        for path in (work / "pf").rglob("*") if (work / "pf").exists() else ():
            if path.is_file():
                disk.contents[len(disk.contents)] = path.read_bytes()
                disk.names[str(path.relative_to(work))] = len(disk.contents) - 1
        disk.durable = dict(disk.names)
        return disk

    def apply(self, operation: Operation) -> None:
        """Do what was noted."""
        name, place, *rest = operation
        if name == "sync":
            self._known(place)
            self.contents[self.names[place]] = base64.b64decode(rest[0])
        elif name == "sync folder":
            self._sync_folder(place)
        elif name == "link":
            self._known(place)
            self._change({rest[0]: self.names[place]})
        elif name in ("replace", "rename"):
            for old, new in self._below(place, rest[0]):
                self._change({new: self.names[old], old: None})
        elif name == "unlink":
            self._known(place)
            self._change({place: None})

    def _below(self, place: str, target: str) -> list[tuple[str, str]]:
        self._known(place) if not any(name.startswith(f"{place}/") for name in self.names) else None
        held = [name for name in self.names if name == place or name.startswith(f"{place}/")]
        return [(name, target + name[len(place) :]) for name in held]

    def _known(self, place: str) -> None:
        """Take note of a file that was made without a call that is noted."""
        if place not in self.names:
            self.contents[len(self.contents)] = b""
            self._change({place: len(self.contents) - 1})

    def _change(self, change: dict[str, int | None]) -> None:
        _applied(self.names, change)
        self.pending.append(change)

    def _sync_folder(self, folder: str) -> None:
        kept: list[dict[str, int | None]] = []
        for change in self.pending:
            if any(str(Path(place).parent) == folder for place in change):
                _applied(self.durable, change)
            else:
                kept.append(change)
        self.pending = kept

    def states(self, drawn: random.Random, subsets: int) -> Iterator[dict[str, bytes]]:
        """Yield what may be found now: unsynced names gone, there, and in random subsets."""
        whole = range(len(self.pending))
        choices = [[], list(whole)]
        choices += [[n for n in whole if drawn.random() < 0.5] for _ in range(subsets)]
        for choice in choices:
            names = dict(self.durable)
            for number in choice:
                _applied(names, self.pending[number])
            yield {place: self.contents[number] for place, number in names.items()}


def _applied(names: dict[str, int], change: Mapping[str, int | None]) -> None:
    for place, number in change.items():
        if number is None:
            names.pop(place, None)
        else:
            names[place] = number


def lay_state(state: Mapping[str, bytes], work: Path) -> None:
    """Make a folder's cache what a state says."""
    shutil.rmtree(work / "pf", ignore_errors=True)
    for place, content in state.items():
        (work / place).parent.mkdir(parents=True, exist_ok=True)
        (work / place).write_bytes(content)
