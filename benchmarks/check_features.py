"""What it costs that every file is checked against its sha256 before it is read.

    python -m promptfuse.benchmarks.check_features --gigabytes 1

makes a feature set of that size in a temporary folder and times a first batch that touches every
shard, each in a fresh process with the files in the page cache: without any check, with the first
check, and with the second, which finds what the first remembered. Medians of the repeats, in turn.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from ..cache.checked import MEMO_NAME
from ..cache.manifest import FieldSpec, Manifest
from ..cache.store import FeatureWriter
from ..tables import Table

_WAYS = ("unchecked", "first check", "second check")
_WIDTH, _SHARD_ROWS = 768, 32_768
_SETTLING_SECONDS = 3  # files changed in the last two are not remembered

_FIRST_BATCH = """
import sys, time
from pathlib import Path
from ..cache import layout, store
if sys.argv[2] == "unchecked":
    layout.check_files = lambda *_, **__: None
started = time.perf_counter()
features = store.FeatureSet.open(Path(sys.argv[1]))
features.read(features.keys[:: max(1, len(features) // 64)], "pooler")
print(time.perf_counter() - started)
"""


def main(
    gigabytes: Annotated[float, typer.Option(help="Of features.")] = 1.0,
    repeats: Annotated[int, typer.Option(help="Of each way.")] = 5,
) -> None:
    """Print a table of seconds, and the seconds a gigabyte of the first check."""
    with tempfile.TemporaryDirectory() as name:
        path, size_bytes = _write(Path(name), rows=int(gigabytes * 1e9 / (2 * _WIDTH)))
        time.sleep(_SETTLING_SECONDS)
        seconds: dict[str, list[float]] = {way: [] for way in _WAYS}
        for _ in range(repeats):
            (path / MEMO_NAME).unlink(missing_ok=True)
            for way in _WAYS:
                seconds[way].append(_first_batch(path, way))
    medians = {way: statistics.median(times) for way, times in seconds.items()}
    print(Table("", ["first batch", "seconds"], [[w, s] for w, s in medians.items()], 3).text())
    each = (medians["first check"] - medians["unchecked"]) / (size_bytes / 1e9)
    print(f"{size_bytes / 1e9:.2f} GB; the first check takes {each:.2f} s a GB")


def _write(root: Path, *, rows: int) -> tuple[Path, int]:
    field = FieldSpec("pooler", "float16", (_WIDTH,))
    manifest = Manifest("image", {"id": "noise", "weights_sha256": "0" * 64}, (field,))
    generator = np.random.default_rng(0)
    with FeatureWriter(root, manifest) as writer:
        for start in range(0, rows, _SHARD_ROWS):
            count = min(_SHARD_ROWS, rows - start)
            values = generator.integers(0, 2**14, (count, _WIDTH), dtype=np.uint16)
            for row, value in enumerate(values.view(np.float16), start=start):
                writer.append(row.to_bytes(32, "big"), {"pooler": value})
            writer.commit()
    made = Path(writer.path)
    return made, sum(shard.stat().st_size for shard in made.glob("shard-*"))


def _first_batch(path: Path, way: str) -> float:
    """Return the seconds that a fresh process needs for its first batch."""
    command = [sys.executable, "-c", _FIRST_BATCH, str(path), way]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


if __name__ == "__main__":
    typer.run(main)
