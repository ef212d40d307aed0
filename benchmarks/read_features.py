"""How fast random rows come out of the cache, beside the speed of copying memory.

    python benchmarks/read_features.py

Writes feature sets of the shapes of an image, a video and an audio encoder in both formats, then
reads random keys in batches, on one thread, with the files in the page cache. The floor is what a
plain sequential copy of as many bytes a batch reaches on the same machine at the same moment.
"""

import hashlib
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from promptfuse.cache.manifest import FieldSpec, Manifest
from promptfuse.cache.store import FeatureSet, FeatureWriter

WIDTH = 768
SOURCE_BYTES = 256 << 20
ROUNDS = 5

# Rows, rows a shard, and from how few to how many steps each.
WORKLOADS = {
    "image [768]": (60_000, 1024, (1, 1)),
    "video [1-16, 768]": (20_000, 256, (1, 16)),
    "audio [50-500, 768]": (640, 64, (50, 500)),
}


def write(folder: Path, workload: str, file_format: str) -> Path:
    """Return the folder of a feature set with the workload's rows."""
    rows, shard_rows, steps = WORKLOADS[workload]
    ragged = steps != (1, 1)
    field = FieldSpec("value", "float16", (WIDTH,), ragged=ragged)
    manifest = Manifest("image", {"id": f"{workload} {file_format}"}, (field,))
    rng = np.random.default_rng(0)
    values = rng.normal(size=(steps[1] + rows % 97, WIDTH)).astype(np.float16)
    with FeatureWriter(folder, manifest, format=file_format) as writer:
        for number in range(rows):
            length = int(rng.integers(steps[0], steps[1] + 1))
            value = values[:length] if ragged else values[number % len(values)]
            writer.append(hashlib.sha256(b"%d" % number).digest(), {"value": value})
            if (number + 1) % shard_rows == 0:
                writer.commit()
    return writer.path


def read_at_random(path: Path, *, batch: int, seconds: float) -> tuple[float, float]:
    """Return rows and bytes a second of random keys; the first batches, which map, are free."""
    features = FeatureSet.open(path)
    keys = features.keys
    rng = np.random.default_rng(1)
    batches = [[keys[row] for row in rng.integers(0, len(keys), batch)] for _ in range(64)]
    for chosen in batches:
        features.read(chosen, "value")
    return best_rates(lambda turn: features.read(batches[turn % 64], "value").values, seconds)


def copy_in_order(size_bytes: int, *, seconds: float) -> tuple[float, float]:
    """Return copies and bytes a second, of as many bytes from one array to a new one."""
    source = np.ones(max(SOURCE_BYTES, 2 * size_bytes), dtype=np.uint8)
    places = len(source) // size_bytes
    return best_rates(
        lambda turn: source[turn % places * size_bytes :][:size_bytes].copy(), seconds
    )


def best_rates(action: Callable[[int], np.ndarray], seconds: float) -> tuple[float, float]:
    """Return turns and bytes a second, of the best round: other programs' work counts least."""
    rates = []
    for _ in range(ROUNDS):
        turns = size_bytes = 0
        started = time.perf_counter()
        while (elapsed := time.perf_counter() - started) < seconds / ROUNDS:
            size_bytes += action(turns).nbytes
            turns += 1
        rates.append((turns / elapsed, size_bytes / elapsed))
    return max(rates, key=lambda rate: rate[1])


def main(
    folder: Annotated[Path | None, typer.Option(help="In which a temporary one is made.")] = None,
    seconds: Annotated[float, typer.Option(help="Per measurement.")] = 1.0,
    batch: Annotated[str, typer.Option(help="Rows a read.")] = "32,512",
) -> None:
    """Measure how fast random rows come out of the cache; a line is shown once it is measured."""
    columns = ["rows of float16", "format", "batch", "rows/s", "GB/s", "copy GB/s", "of copy"]
    layout = "{:<21}{:<8}{:>5}{:>12}{:>9}{:>12}{:>10}"
    print(layout.format(*columns))
    with tempfile.TemporaryDirectory(dir=folder) as made:
        for workload in WORKLOADS:
            for file_format in ("arrow", "hdf5"):
                path = write(Path(made), workload, file_format)
                for rows in map(int, batch.split(",")):
                    turns, read = read_at_random(path, batch=rows, seconds=seconds)
                    _, copied = copy_in_order(round(read / turns), seconds=seconds)
                    rates = f"{turns * rows:,.0f}", f"{read / 1e9:.2f}", f"{copied / 1e9:.2f}"
                    told = (workload, file_format, rows, *rates, f"{read / copied:.0%}")
                    print(layout.format(*told), flush=True)


if __name__ == "__main__":
    typer.run(main)
