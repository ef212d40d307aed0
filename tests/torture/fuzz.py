"""Inputs by the thousand for one reader; whatever it raises but a `PromptFuseError` is a finding.

`python -m tests.torture.fuzz FOLDER TARGET SECONDS` goes on with libFuzzer, led by what the inputs
reach, where atheris is installed, and with the mutations alone elsewhere.
"""

import base64
import contextlib
import importlib
import json
import os
import random
import re
import resource
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from .mutations import mutated

_ROOT = Path(__file__).parents[2]
_MOST_SECONDS = 20
_MOST_BYTES = 4 * 2**30
_KEPT = 200
_LONGEST = 20_000


def main(folder: Path, name: str, times: int, seed: int) -> dict[str, object]:
    """Return how many inputs were refused and read, and the findings, each once."""
    first, one = prepared(folder, name)
    counts, findings, pool, drawn = {"refused": 0, "read": 0}, {}, list(first), random.Random(seed)  # noqa: S311
    for data in first:
        assert attempt(one, data) == "read", f"{name}: what is not changed is refused"
    bound_memory()
    for _ in range(times):
        data = mutated(drawn.choice(pool), drawn)
        (folder / "input").write_bytes(data)  # to be found there after a crash
        try:
            how = attempt(one, data)
        except Exception as error:  # noqa: BLE001
            place = traceback.extract_tb(error.__traceback__)[-1]
            found = f"{type(error).__name__} at {place.filename}:{place.lineno}"
            findings.setdefault(found, (traceback.format_exc(), base64.b64encode(data).decode()))
        else:
            counts[how] += 1
            if how == "read" and len(pool) < _KEPT and len(data) < _LONGEST:
                pool.append(data)
    return {**counts, "findings": findings}


def prepared(folder: Path, name: str) -> tuple[list[bytes], Callable[[bytes], None]]:
    """Return a target's first inputs and what reads one."""
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["HF_HUB_OFFLINE"] = "1"  # a forged name is not to be looked for
    return importlib.import_module(f"{__package__}.targets").TARGETS[name](folder)


def attempt(one: Callable[[bytes], None], data: bytes) -> str:
    """Return whether an input was refused or read, within bounded time."""
    from promptfuse.errors import PromptFuseError

    def stop(*_: object) -> None:
        raise TimeoutError(f"not read in {_MOST_SECONDS} s")

    signal.signal(signal.SIGALRM, stop)
    signal.alarm(_MOST_SECONDS)
    try:
        one(data)
    except PromptFuseError:
        return "refused"
    finally:
        signal.alarm(0)
    return "read"


def bound_memory() -> None:
    """Let no reader take more memory than so much beyond what is taken now."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + _MOST_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def go_on(folder: Path, name: str, seconds: int) -> None:
    """Fuzz a target for some time and print, as JSON, how many inputs it was and the findings."""
    try:
        atheris = importlib.import_module("atheris")
    except ImportError:
        print(
            "atheris is not installed: the mutations alone, which no coverage leads",
            file=sys.stderr,
        )
        end, inputs, seed, found = time.monotonic() + seconds, 0, 0, {}
        while time.monotonic() < end and not found:
            answer = main(folder / str(seed), name, 500, seed)
            found, inputs, seed = answer.pop("findings"), inputs + 500, seed + 1
        print(json.dumps({"inputs": inputs, "findings": found}))
        return
    with atheris.instrument_imports(include=["promptfuse"]):
        first, one = prepared(folder / "work", name)
    from promptfuse.errors import PromptFuseError

    seeds = folder / "seeds"
    seeds.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(first):
        (seeds / str(number)).write_bytes(data)

    def read(data: bytes) -> None:
        with contextlib.suppress(PromptFuseError):  # libFuzzer itself keeps time
            one(data)

    def change(data: bytes, most: int, seed: int) -> bytes:
        drawn = random.Random(seed)  # noqa: S311
        return (mutated(data, drawn) if drawn.random() < 0.5 else atheris.Mutate(data, most))[:most]

    options = [f"-max_total_time={seconds}", f"-max_len={_LONGEST}", f"-timeout={_MOST_SECONDS}"]
    options += ["-rss_limit_mb=4096", f"-artifact_prefix={folder}/found-", "-verbosity=0"]
    atheris.Setup(
        [sys.argv[0], *options, "-print_final_stats=1", str(seeds)],
        read,
        custom_mutator=change,
    )
    atheris.Fuzz()


def run_long(folder: Path, name: str, seconds: int) -> dict[str, object]:
    """Return how many inputs a target was given in some time, and the last words of a finding."""
    command = [sys.executable, "-m", "tests.torture.fuzz", str(folder), name, str(seconds)]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, check=False)
    said = done.stderr.decode(errors="replace")
    if done.stdout.startswith(b"{"):
        answer = json.loads(done.stdout.splitlines()[-1])
        return {"inputs": answer["inputs"], "found": list(answer["findings"])}
    inputs = re.search(r"number_of_executed_units: (\d+)", said)
    found = [str(path) for path in folder.glob("found-*")]
    found += [] if done.returncode == 0 else [said[-3000:]]
    return {"inputs": int(inputs[1]) if inputs else 0, "found": found}


if __name__ == "__main__":
    go_on(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
