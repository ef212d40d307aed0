"""How fast random rows come out of the cache, beside the speed of copying memory.

    python benchmarks/read_features.py

Writes feature sets of the shapes of an image, a video and an audio encoder in both formats, then
reads random keys in batches, on one thread, with the files in the page cache. The floor is what a
plain sequential copy of as many bytes a batch reaches on the same machine at the same moment.
"""

import argparse
import hashlib
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from promptfuse.cache.manifest import FieldSpec, Manifest
from promptfuse.cache.store import FeatureSet, FeatureWriter

WIDTH = 768
SOURCE_BYTES = 256 << 20
ROUNDS = 5


@dataclass(frozen=True)
class Workload:
    """Rows of one kind: how many, how many a shard, and from how few to how many steps each."""

    name: str
    rows: int
    shard_rows: int
    steps: tuple[int, int]

    @property
    def ragged(self) -> bool:
        """Whether rows differ in length."""
        return self.steps != (1, 1)


WORKLOADS = (
    Workload("image [768]", rows=60_000, shard_rows=1024, steps=(1, 1)),
    Workload("video [1-16, 768]", rows=20_000, shard_rows=256, steps=(1, 16)),
    Workload("audio [50-500, 768]", rows=640, shard_rows=64, steps=(50, 500)),
)


@dataclass(frozen=True)
class Rate:
    """What was read in what time."""

    rows: int
    size_bytes: int
    seconds: float


def write(folder: Path, workload: Workload, file_format: str) -> Path:
    """Return the folder of a feature set with the workload's rows."""
    field = FieldSpec("value", "float16", (WIDTH,), ragged=workload.ragged)
    manifest = Manifest("image", {"id": f"{workload.name} {file_format}"}, (field,))
    rng = np.random.default_rng(0)
    values = rng.normal(size=(workload.steps[1] + workload.rows % 97, WIDTH)).astype(np.float16)
    with FeatureWriter(folder, manifest, format=file_format) as writer:
        for number in range(workload.rows):
            steps = int(rng.integers(workload.steps[0], workload.steps[1] + 1))
            value = values[:steps] if workload.ragged else values[number % len(values)]
            writer.append(hashlib.sha256(b"%d" % number).digest(), {"value": value})
            if (number + 1) % workload.shard_rows == 0:
                writer.commit()
    return writer.path


def read_at_random(path: Path, *, batch: int, seconds: float) -> Rate:
    """Return the rate of reading random keys; the first batches, which map the files, are free."""
    features = FeatureSet.open(path)
    keys = features.keys
    rng = np.random.default_rng(1)
    batches = [[keys[row] for row in rng.integers(0, len(keys), batch)] for _ in range(64)]
    for chosen in batches:
        features.read(chosen, "value")
    return repeat(
        lambda turn: features.read(batches[turn % len(batches)], "value").values,
        rows=batch,
        seconds=seconds,
    )


def copy_in_order(size_bytes: int, *, rows: int, seconds: float) -> Rate:
    """Return the rate of copying as many bytes a batch from one array to a new one."""
    source = np.ones(max(SOURCE_BYTES, 2 * size_bytes), dtype=np.uint8)
    places = len(source) // size_bytes
    return repeat(
        lambda turn: source[turn % places * size_bytes :][:size_bytes].copy(),
        rows=rows,
        seconds=seconds,
    )


def repeat(action: Callable[[int], np.ndarray], *, rows: int, seconds: float) -> Rate:
    """Return the best of five rates of `action`, so that other programs' work counts least."""
    rates = [measure(action, rows=rows, seconds=seconds / ROUNDS) for _ in range(ROUNDS)]
    return max(rates, key=lambda rate: rate.size_bytes / rate.seconds)


def measure(action: Callable[[int], np.ndarray], *, rows: int, seconds: float) -> Rate:
    """Return what `action` made in about `seconds`."""
    turns = size_bytes = 0
    started = time.perf_counter()
    while (elapsed := time.perf_counter() - started) < seconds:
        size_bytes += action(turns).nbytes
        turns += 1
    return Rate(turns * rows, size_bytes, elapsed)


def report(name: str, file_format: str, batch: int, rate: Rate, floor: Rate) -> str:
    """Return one line of the table."""
    bytes_per_second = rate.size_bytes / rate.seconds
    floor_bytes_per_second = floor.size_bytes / floor.seconds
    return (
        f"{name:<21}{file_format:<8}{batch:>5}{rate.rows / rate.seconds:>12,.0f}"
        f"{bytes_per_second / 1e9:>9.2f}{floor_bytes_per_second / 1e9:>12.2f}"
        f"{bytes_per_second / floor_bytes_per_second:>10.0%}"
    )


def arguments() -> argparse.Namespace:
    """Return the command line's settings."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, help="where to write (default: a temporary folder)")
    parser.add_argument("--seconds", type=float, default=1.0, help="per measurement")
    parser.add_argument("--batch", type=int, nargs="+", default=[32, 512], help="rows a read")
    return parser.parse_args()


def main() -> None:
    """Print the table."""
    options = arguments()
    print(
        f"{'rows of float16':<21}{'format':<8}{'batch':>5}{'rows/s':>12}{'GB/s':>9}"
        f"{'copy GB/s':>12}{'of copy':>10}"
    )
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        for workload in WORKLOADS:
            for file_format in ("arrow", "hdf5"):
                path = write(Path(folder), workload, file_format)
                for batch in options.batch:
                    rate = read_at_random(path, batch=batch, seconds=options.seconds)
                    size_bytes = rate.size_bytes * batch // rate.rows
                    floor = copy_in_order(size_bytes, rows=batch, seconds=options.seconds)
                    print(report(workload.name, file_format, batch, rate, floor), flush=True)


if __name__ == "__main__":
    main()
