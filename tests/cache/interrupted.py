"""A process that is killed while it writes, again and again.

Run as: interrupted.py TASK FORMAT FOLDER INSTANT [KILLS]
TASK is `extract`, `convert`, `repair` or `examples`; it starts from what FOLDER holds. INSTANT is
`every`: one trial for each file operation, killed just before it and then finished; `random`: KILLS
kills after random times, each attempt going on where the last one was stopped; or `never`. After
each kill a reader must find a valid cache, and what is finished must equal, byte for byte, what an
undisturbed run makes. Prints the number of kills; FOLDER then holds the finished result.
"""

import hashlib
import itertools
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from promptfuse.cache.checked import MEMO_NAME
from promptfuse.cache.commits import Failure
from promptfuse.cache.convert import convert
from promptfuse.cache.examples import (
    DatasetInfo,
    Example,
    read_dataset,
    read_examples,
    write_examples,
)
from promptfuse.cache.manifest import FieldSpec, Manifest
from promptfuse.cache.store import FeatureWriter, feature_sets
from promptfuse.cache.verify import feature_folders, repair, verify
from promptfuse.errors import CacheError, ShardCorrupt

MEDIA = 12
SHARD_ROWS = 4
FILE_OPERATIONS = {"open", "os.rename", "os.remove", "os.truncate", "os.mkdir", "os.link"}
MANIFEST = Manifest(
    "audio",
    {"id": "tiny"},
    (FieldSpec("pooler", "float16", (64,)), FieldSpec("sound", "float32", (8,), ragged=True)),
)


def key_of(number: int) -> bytes:
    return hashlib.sha256(b"%d" % number).digest()


def row_of(number: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(number)
    return {
        "pooler": rng.normal(size=64).astype(np.float16),
        "sound": rng.normal(size=(number % 4, 8)).astype(np.float32),
    }


def extract(file_format: str, folder: Path) -> None:
    """What an extraction does: slices of the plan in order, the second part of each on its own."""
    numbers = {key_of(number): number for number in range(MEDIA)}
    with FeatureWriter(folder, MANIFEST, format=file_format) as writer:
        for start in range(0, MEDIA, SHARD_ROWS):
            todo = writer.claim(list(numbers)[start : start + SHARD_ROWS])
            for place, number in enumerate(numbers[key] for key in todo or []):
                if place == 3:
                    writer.commit()  # a part of the slice
                if number % 7 == 3 or SHARD_ROWS <= number < 2 * SHARD_ROWS:
                    failure = Failure(key_of(number), f"{number}.mp4", "damaged", "cut short")
                    writer.fail(failure)
                else:
                    writer.append(key_of(number), row_of(number))
            writer.commit()


def change_format(file_format: str, folder: Path) -> None:
    for features in feature_sets(folder):
        convert(features.path, file_format)


def mend(file_format: str, folder: Path) -> None:
    """Gives up the damaged shard, then encodes its media again."""
    for path in feature_folders(folder):
        repair(path)
    extract(file_format, folder)


def ingest(file_format: str, folder: Path) -> None:
    splits = {
        name: [Example(f"{name}-{n}", f"text {n}", media={"audio": key_of(n)}) for n in range(9)]
        for name in ("train", "test")
    }
    info = DatasetInfo("d", "table", "text", modalities=("audio",), splits={"train": 9, "test": 9})
    write_examples(folder, info, splits, [Failure(None, "x.mp4", "missing", "absent")])


# A kill, unlike a power cut, loses nothing that was handed to the kernel.
os.fsync = lambda _: None

TASKS: dict[str, Callable[[str, Path], None]] = {
    "extract": extract,
    "convert": change_format,
    "repair": mend,
    "examples": ingest,
}


def check_features(folder: Path, *, complete: bool) -> None:
    """Whatever the instant, what is committed is whole and right."""
    damaged: dict[Path, CacheError] = {}
    opened = feature_sets(folder, damaged=damaged)
    assert not damaged
    for features in opened:
        assert all(check.ok for check in verify(features.path))
        keys = {key_of(number): number for number in range(MEDIA)}
        for key in features.keys:
            row = row_of(keys[key])
            assert features.read([key], "pooler").values.tobytes() == row["pooler"].tobytes()
            assert features.read([key], "sound").values.tobytes() == row["sound"].tobytes()
        failed = [failure.key for failure in features.failures]
        assert len({*failed, *features.keys}) == len(failed) + len(features)
        if complete:
            assert len(failed) + len(features) == MEDIA


def check_examples(folder: Path) -> None:
    if not (folder / "examples" / "d" / "dataset.json").exists():
        return
    names = read_dataset(folder, "d").splits
    for split in names:
        assert len(read_examples(folder, "d", split)) == 9


def check(task: str, folder: Path) -> None:
    if task == "examples":
        check_examples(folder)
    elif task == "repair":
        try:
            check_features(folder, complete=False)
        except (AssertionError, ShardCorrupt):  # the damage is still there
            assert any(not c.ok for path in feature_folders(folder) for c in verify(path))
    else:
        check_features(folder, complete=task == "convert")


def tree(folder: Path) -> dict[str, bytes]:
    """All files but the memory of what was checked, which holds inodes and times."""
    paths = sorted(folder.rglob("*"))
    files = [path for path in paths if path.is_file() and path.name != MEMO_NAME]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def attempt(work: Callable[[], None], *, operation: int = 0, seconds: float | None = None) -> bool:
    """Returns whether a child process did the work before it was killed."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            if operation:
                kill_at(operation)
            work()
            status = 0
        finally:
            os._exit(status)
    if seconds is not None:
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return False
    assert os.WEXITSTATUS(status) == 0
    return True


def kill_at(operation: int) -> None:
    """Lets this process die just before its n-th file operation."""
    left = operation

    def count(event: str, _: tuple[object, ...]) -> None:
        nonlocal left
        if event in FILE_OPERATIONS:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)


class Trial:
    """One task on one folder, which can be put back to its beginning."""

    def __init__(self, task: str, file_format: str, folder: Path) -> None:
        self.task, self.file_format, self.folder = task, file_format, folder
        self.beginning = folder.with_name(folder.name + ".beginning")
        folder.mkdir(exist_ok=True)
        shutil.copytree(folder, self.beginning)
        started = time.perf_counter()
        assert attempt(self.work)
        self.seconds = time.perf_counter() - started
        self.finished = tree(folder)

    def work(self) -> None:
        TASKS[self.task](self.file_format, self.folder)

    def check(self) -> None:
        assert attempt(lambda: check(self.task, self.folder))

    def reset(self) -> None:
        shutil.rmtree(self.folder)
        shutil.copytree(self.beginning, self.folder)

    def finish(self) -> None:
        assert attempt(self.work)
        self.check()
        found = tree(self.folder)
        assert found.keys() == self.finished.keys(), found.keys() ^ self.finished.keys()
        assert found == self.finished

    def kill_at_every_operation(self) -> int:
        for operation in itertools.count(1):
            self.reset()
            if attempt(self.work, operation=operation):
                return operation - 1
            self.check()
            self.finish()
        raise AssertionError("unreachable")

    def kill_at_random(self, kills: int) -> int:
        rng = random.Random(0)  # noqa: S311  (instants, not secrets)
        self.reset()
        done = 0
        while done < kills:
            if attempt(self.work, seconds=rng.uniform(0, self.seconds)):
                self.finish()
                self.reset()
            else:
                done += 1
                self.check()
        self.finish()
        return done


def main(task: str, file_format: str, folder: str, instant: str, kills: str = "0") -> None:
    trial = Trial(task, file_format, Path(folder))
    done = 0
    if instant == "every":
        done = trial.kill_at_every_operation()
    elif instant == "random":
        done = trial.kill_at_random(int(kills))
    print(done)


if __name__ == "__main__":
    main(*sys.argv[1:])
