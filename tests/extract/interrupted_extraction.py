"""Run as a program: extractions that are killed at random instants, and then run again.

`python -m … FOLDER KILLS SEED` expects models and media as `test_interruption` laid them out. It
imports the libraries once and forks each extraction. An instant lies between two commits, each
pair in turn, so that a busy machine does not move all kills to one place. For each kill it prints
how many commits there were at that moment, as one JSON list.
"""

import json
import os
import random
import signal
import sys
import time
import traceback
from pathlib import Path

import torch

from promptfuse.extract.datasets.ingest import MediumRef
from promptfuse.extract.encoders import EncoderOptions, load_encoder
from promptfuse.extract.encoders import built_model as _built  # noqa: F401
from promptfuse.extract.pipeline import extract_features


def extract(folder: Path, cache: Path) -> None:
    """Fill a cache with features of every modality."""
    said = json.loads((folder / "media.json").read_text())
    media = [MediumRef(bytes.fromhex(k), Path(p), frozenset(kinds)) for k, p, kinds in said]
    options = EncoderOptions(device="cpu")
    encoders = {
        "image": load_encoder("image", str(folder / "vit"), options=options),
        "video": load_encoder("video", str(folder / "vit"), options=options),
        "audio": load_encoder("audio", str(folder / "wav2vec2"), options=options),
    }
    extract_features(media, encoders, cache, shard_rows=3, batch_size=4, workers=2, progress=False)


def forked(folder: Path, cache: Path) -> int:
    """Returns the process id of an extraction that has just been started."""
    process = os.fork()
    if process == 0:
        torch.set_num_threads(1)
        try:
            extract(folder, cache)
            os._exit(0)
        finally:  # an error: this copy of the program must not go on
            traceback.print_exc()
            os._exit(1)
    return process


def finished(folder: Path, cache: Path) -> float:
    """Returns the seconds of an undisturbed extraction."""
    started = time.perf_counter()
    _, status = os.waitpid(forked(folder, cache), 0)
    if status:
        raise SystemExit(f"{cache}: the extraction failed with status {status}")
    return time.perf_counter() - started


def commits(cache: Path) -> int:
    """Returns the number of commits of all feature sets."""
    return len(list(cache.rglob("commits/*.json")))


def wait_for(cache: Path, process: int, wanted: int) -> None:
    """Returns once there are so many commits, or the extraction has ended."""
    while commits(cache) < wanted:
        if os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
            return
        time.sleep(0.0005)


def main() -> None:
    """Print the commits at each kill."""
    folder, kills, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    instants = random.Random(seed)  # noqa: S311
    seconds = min(finished(folder, folder / "whole"), finished(folder, folder / "warm"))
    total = commits(folder / "whole")
    found = []
    for number in range(kills):
        cache = folder / f"killed-{number}"
        process = forked(folder, cache)
        wait_for(cache, process, number * total // kills)
        time.sleep(instants.random() * seconds / total)
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        found.append(commits(cache))
        finished(folder, cache)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
