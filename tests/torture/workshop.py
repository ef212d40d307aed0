"""A small folder to torture: data with a bad file, tiny models, a cache, a run; and how to type.

Commands are typed into children forked from one process that has imported everything, so that a
kill falls into the work and not into the imports.
"""

import contextlib
import json
import os
import resource
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file

import promptfuse.cli
from promptfuse.cache.examples import read_datasets, read_examples, read_failures
from promptfuse.cache.keys import file_sha256
from promptfuse.cache.store import feature_sets
from promptfuse.errors import CacheError
from promptfuse.extract.encoders import built_model as _built  # noqa: F401
from promptfuse.train.plm import bart as _bart  # noqa: F401

from ..extract.media_files import cut_short, grey_frames, tone, write_clip, write_image
from ..extract.tiny_models import save_tower
from ..train.small_plms import save_small

PICTURES, CLIPS = 14, 5
WORDS = ("nice day", "what colour is the square", "how many", "is the square red")

EXTRACT = (
    "extract", "--dataset", "mine", "--data", "data/rows.jsonl", "--encoder", "image=tower",
    "--encoder", "video=tower", "--shard-rows", "3", "--batch-size", "2", "--workers", "2",
    "--max-failures", "9", "--device", "cpu",
)  # fmt: skip
_SETTINGS = {
    "plm": "plm", "modalities": "image", "width_fix": "orthogonal", "batch_size": "4",
    "prompt_length": "3", "epochs": "12", "lr": "0.1",
}  # fmt: skip
TRAIN = ("train", "--dataset", "mine", "--device", "cpu", "--threads", "1")
TRAIN += tuple(
    word for name, value in _SETTINGS.items() for word in (f"--{name.replace('_', '-')}", value)
)
TRAIN += ("--checkpoint-every", "4")
_SWEPT = {name: value for name, value in _SETTINGS.items() if name != "lr"} | {"lr_prompt": "0.1"}
SWEEP = ("sweep", "--name", "trial", "--dataset", "mine", "--method", "promptfuse,linear")
SWEEP += ("--seeds", "2", "--device", "cpu", "--threads", "1")
SWEEP += tuple(word for name, value in _SWEPT.items() for word in ("--set", f"{name}={value}"))
CONVERT = ("convert", "--format", "hdf5")


def lay_out(folder: Path, *, pictures: int = PICTURES, clips: int = CLIPS) -> None:
    """Write data, models and nothing else."""
    data = folder / "data"
    data.mkdir(parents=True)
    rows = []
    for number in range(pictures):
        write_image(data / f"{number}.png", size=(30 + number % 100, 40 + number // 100))
        rows.append({"image": f"{number}.png"})
    cut_short(write_image(data / "bad.jpg", size=(64, 64)), 0.5)
    rows.append({"image": "bad.jpg"})
    for number in range(clips):
        frames, sound = grey_frames(5 + number % 50), tone(0.5, 16_000)
        write_clip(data / f"{number}.mp4", videos=[frames], sounds=[sound], rate_hz=16_000)
        rows.append({"video": f"{number}.mp4", "image": f"{number % pictures}.png"})
    for number, row in enumerate(rows):
        row |= {"id": f"q{number}", "text": WORDS[number % 4], "answer": ["yes", "no"][number % 2]}
        row |= {"split": "train" if number < 8 else "test"}
    (data / "rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    save_tower(folder / "tower")
    save_small("bart", folder / "plm")


def start(
    arguments: Sequence[str],
    folder: Path,
    before: Callable[[], None] | None = None,
    output: int | None = None,
) -> int:
    """Return the process that runs a command in a folder; what it prints goes nowhere by itself.

    `before` is called in it first; `output` is the descriptor that it prints to.
    """
    child = os.fork()
    if child:
        return child
    status = 70
    try:
        os.chdir(folder)
        output = os.open(os.devnull, os.O_WRONLY) if output is None else output
        os.dup2(output, 1)
        os.dup2(output, 2)
        torch.set_num_threads(1)
        sys.argv = ["pfcli", *arguments]
        if before is not None:
            before()
        promptfuse.cli.main()
        status = 0
    except SystemExit as ended:
        status = int(ended.code or 0)
    finally:  # an unforeseen exception: this copy of the tests must not go on
        if status == 70:
            traceback.print_exc()
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
        os._exit(status)


def wait(child: int) -> int:
    """Return a child's exit status, negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def outcome(
    arguments: Sequence[str], folder: Path, before: Callable[[], None] | None = None
) -> tuple[int, str]:
    """Return a command's exit status and what it printed; no crash and no traceback may be."""
    return outcomes([arguments], folder, before)[0]


def outcomes(
    commands: Sequence[Sequence[str]], folder: Path, before: Callable[[], None] | None = None
) -> list[tuple[int, str]]:
    """Return the exit status and the output of commands that run at the same time in a folder."""
    running = []
    for arguments in commands:
        read, write = os.pipe()  # unlike a file never too large for a limit that `before` sets
        running.append((arguments, read, start(arguments, folder, before, write)))
        os.close(write)
    ended: list[tuple[int, str]] = []
    for arguments, read, child in running:
        with os.fdopen(read, errors="replace") as stream:
            said = stream.read()
        status = wait(child)
        assert status >= 0, (arguments, signal.Signals(-status).name, said)
        assert "Traceback" not in said, (arguments, said)
        ended.append((status, said))
    return ended


def type_in(arguments: Sequence[str], folder: Path, *, status: int = 0) -> str:
    """Return what a command prints; it has to end with this status."""
    ended, said = outcome(arguments, folder)
    assert ended == status, (arguments, ended, said)
    return said


def kill_after(arguments: Sequence[str], folder: Path, seconds: float) -> bool:
    """Return whether a command was killed before it ended."""
    child = start(arguments, folder)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    return wait(child) == -signal.SIGKILL


def smallest_files(limit_bytes: int) -> Callable[[], None]:
    """Return what makes every write beyond a file's size fail, as on a full disk."""

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes))

    return limit


def copy(source: Path, target: Path) -> Path:
    """Return a fresh copy of a folder."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)
    return target


def cache_contents(folder: Path) -> dict[str, object]:
    """Return every example, failure and row of a folder's cache, by its name and key."""
    root, contents = folder / "pf" / "cache", dict[str, object]()
    for info in read_datasets(root):
        for split in info.splits:
            contents[f"{info.name}/{split}"] = list(read_examples(root, info.name, split))
        contents[f"{info.name}/failures"] = read_failures(root, info.name)
    damaged: dict[Path, CacheError] = {}
    for features in feature_sets(root, damaged=damaged):
        named = f"{features.modality}/{features.fingerprint}"
        keys = [key for commit in features.shard_commits for key in commit.row_keys]
        assert len(set(keys)) == len(keys) == len(features), f"{named}: a row is doubled"
        for spec in features.manifest.fields:
            packed = features.read(sorted(keys), spec.name)
            for key, row in zip(sorted(keys), range(len(packed)), strict=True):
                contents[f"{named}/{key.hex()}/{spec.name}"] = packed[row].tobytes()
        failed = sorted((str(f.key), f.path, f.reason, f.message) for f in features.failures)
        contents[f"{named}/failures"] = failed
    for error in damaged.values():
        raise error
    return contents


def files_of(folder: Path) -> dict[str, str]:
    """Return the sha256 of every file of a folder's cache, but of those that tell of processes."""
    root = folder / "pf" / "cache"
    return {
        str(path.relative_to(root)): file_sha256(path).hex()
        for path in root.rglob("*")
        if path.is_file() and not path.name.startswith(".")
    }


def run_contents(folder: Path) -> dict[str, object]:
    """Return what each finished run of a folder has trained, and what it answered."""
    contents = dict[str, object]()
    for path in sorted((folder / "pf" / "runs").glob("[0-9]*")):
        if (path / "prompt.safetensors").exists():
            tensors = load_file(path / "prompt.safetensors")
            contents[path.name] = {name: tensor.tolist() for name, tensor in tensors.items()}
        for answers in path.glob("eval-*/predictions.jsonl"):
            contents[f"{path.name}/{answers.parent.name}"] = answers.read_text()
    return contents


def sweep_contents(folder: Path) -> dict[str, object]:
    """Return what the runs of each cell of a folder's sweep have trained and answered."""
    sweep = json.loads((folder / "pf" / "sweeps" / "trial" / "sweep.json").read_text())
    runs = run_contents(folder)
    return {
        f"cell {number}, seed {seed}{rest}": runs[name + rest]
        for number, cell in enumerate(sweep["cells"])
        for seed, name in enumerate(cell["runs"])
        for rest in ("", "/eval-test")
    }
