"""An epoch's reading and its memory with 1, 4 and 16 times the data, a process a size.

Each example has a text and an image's 768 float16 numbers of its own. An epoch draws every example
once, in random batches of 32, up to the language model: rows read ahead, tokens padded, embedded.
Memory is what the process itself holds (`RssAnon`): pages of mapped files are the kernel's.
"""

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import numpy as np

from ..cache.examples import DatasetInfo, Example, read_examples, write_examples
from ..cache.manifest import FieldSpec, Manifest
from ..cache.store import FeatureWriter, feature_sets
from .bench import Line, Taken
from .machine import Machine
from .shapes import HIDDEN

_EXAMPLES, _BATCH_SIZE = 30_000, 32
_BART = Path(__file__).parents[1] / "demo" / "models" / "bart"


def lines(machine: Machine) -> Iterator[Line]:  # noqa: ARG001  # each process has its own
    """Yield one line: an epoch of each size, a sixteenth of its examples being the unit."""
    with TemporaryDirectory() as made:
        contenders = {}
        for times in (16, 4, 1):
            folder = Path(made) / str(times)
            _write(folder, times * _EXAMPLES)
            contenders[f"{times} × {_EXAMPLES:,} examples"] = partial(_apart, folder, times)
        yield Line("an epoch for each 30,000 examples", contenders, once=True)


def _write(folder: Path, count: int) -> None:
    """Write so many examples, each with an image's features."""
    manifest = Manifest("image", {"id": "random"}, (FieldSpec("pooler", "float16", (HIDDEN,)),))
    values = np.random.default_rng(0).normal(size=(1009, HIDDEN)).astype(np.float16)
    keys = [hashlib.sha256(b"%d" % number).digest() for number in range(count)]
    with FeatureWriter(folder, manifest) as writer:
        for number, key in enumerate(keys):
            writer.append(key, {"pooler": values[number % len(values)]})
            if (number + 1) % 1024 == 0:
                writer.commit()
    splits = {"train": count}
    info = DatasetInfo("made", "table", "text", modalities=("image",), splits=splits)
    examples = [
        Example(str(number), "what is this?", "yes", media={"image": key})
        for number, key in enumerate(keys)
    ]
    write_examples(folder, info, {"train": examples})


def _apart(folder: Path, times: int) -> Taken:
    command = [sys.executable, "-m", "promptfuse.benchmarks.growth", str(folder)]
    said = subprocess.run(command, check=True, capture_output=True, text=True)
    seconds, held = json.loads(said.stdout.splitlines()[-1])
    return Taken(seconds / times, held)


def epoch(folder: Path) -> tuple[float, int]:
    """Return the seconds of the second epoch over a folder's examples, and the bytes then held."""
    from ..train.data import FusionData, open_source
    from ..train.plm import load_plm

    plm = load_plm(str(_BART), device="cpu")
    (features,) = feature_sets(folder, "image")
    source = open_source(features, plm, field=None, width_fix="orthogonal")
    data = FusionData(read_examples(folder, "made", "train"), [source], plm)
    seconds = 0.0
    for number in range(2):
        order = np.random.default_rng(number).permutation(len(data))
        began = perf_counter()
        for indices in data.ahead(np.split(order, range(_BATCH_SIZE, len(order), _BATCH_SIZE))):
            data.segments(indices)
        seconds = perf_counter() - began
    status = Path("/proc/self/status").read_text()
    held = next(line.split()[1] for line in status.splitlines() if line.startswith("RssAnon"))
    return seconds, int(held) * 1024


if __name__ == "__main__":
    print(json.dumps(epoch(Path(sys.argv[1]))))
