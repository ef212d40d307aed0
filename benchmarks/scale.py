"""What a cache of very many rows costs: the rates and counts that docs/scale.md plans with.

Rates are measured, and requests counted on a store in memory. What an object store's own distance
adds is not in them.
"""

import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePath
from time import perf_counter
from typing import Any

import numpy as np

from ..cache import bucket
from ..cache.commits import Commit, commit_object
from ..cache.examples import DatasetInfo, Example, write_examples
from ..cache.keys import file_sha256
from ..cache.manifest import MANIFEST_NAME, FieldSpec, Manifest
from ..cache.objects import store_at
from ..cache.places import Url
from ..cache.sealed import seal
from ..cache.store import FeatureSet, FeatureWriter
from .bench import Contender, Line, Taken
from .machine import Machine

OPENED = ((1_000, 16), (10_000, 16), (100_000, 16), (500, 1024))
"""Commits, and rows of each, of the sets that are opened."""

HIDDEN, SHARD_ROWS = 768, 1024
_PART_BYTES = 5 * 2**20  # of which obstore puts larger objects together
_COUNTED_SHARDS = 20
_HASHED_BYTES = 1 << 28
_EXAMPLES = 100_000
_BATCH = 16


_KINDS = {"put": "PUT", "get": "GET", "head": "HEAD", "delete": "DELETE"}
_KINDS["list_with_delimiter"] = "LIST"


class Requests:
    """obstore, counting what a store would be asked."""

    def __init__(self, module: Any) -> None:
        self._module = module
        self.counts: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Any:
        action = getattr(self._module, name)

        def counted(client: Any, *given: Any, **options: Any) -> Any:
            answer = action(client, *given, **options)
            self.counts[_KINDS[name]] += _parts(given, answer)
            return answer

        return counted if name in _KINDS else action

    def told(self) -> str:
        """Return the counts a shard, in words, and begin anew."""
        said = ", ".join(f"{n / _COUNTED_SHARDS:.1f} {kind}" for kind, n in self.counts.items())
        self.counts.clear()
        return said


def _parts(given: Sequence[Any], answer: Any) -> int:
    """Return how many requests one call makes: large objects are put in parts, lists have pages."""
    if isinstance(given[-1], Path) and (size_bytes := given[-1].stat().st_size) > _PART_BYTES:
        return -(-size_bytes // _PART_BYTES) + 2
    listed = answer.get("objects", ()) if isinstance(answer, dict) else ()
    return 1 + len(listed) // 1000


def lines(machine: Machine) -> Iterator[Line]:
    """Yield what is measured, requests counted in the words of the work."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        yield from _requests(root)
        for commits, rows in OPENED:
            path = write_commits(root / f"{commits}-{rows}", commits, rows)
            name = f"open {commits:,} commits of {rows} rows"
            for what in ("read", "write"):
                run = _in_a_process(what, path)
                yield Line(
                    f"{name}, to {what}", {"pfcli": run}, None, commits, "commits", once=True
                )
        yield _hashing(root)
        yield _examples(root)
    yield _encoding(machine)


def _manifest() -> Manifest:
    return Manifest("image", {"id": "bench"}, (FieldSpec("pooler", "float16", (HIDDEN,)),))


def write_commits(root: Path, commits: int, rows: int) -> Path:
    """Return a set of so many commits, whose shards are a byte each: opening reads none."""
    manifest = _manifest()
    path = root / "features" / "image" / manifest.fingerprint
    (path / "commits").mkdir(parents=True)
    (path / MANIFEST_NAME).write_bytes(seal(manifest.to_json()))
    for _ in range(commits):
        keys = os.urandom(32 * rows)
        file = f"shard-{Commit(keys).name}-{'0' * 16}.arrow"
        commit = Commit(keys, file=file, size_bytes=1, sha256="0" * 64)
        (path / commit_object(commit.name)).write_bytes(seal(commit.to_json()))
        (path / file).write_bytes(b"1")
    return path


def _in_a_process(what: str, path: Path) -> Contender:
    """Return what opens a set in a process of its own, for its seconds and memory."""

    def run() -> Taken:
        command = [sys.executable, "-m", __name__, what, str(path)]
        seconds, peak_bytes = subprocess.check_output(command, text=True).split()
        return Taken(float(seconds), int(peak_bytes))

    return run


def open_apart(what: str, path: PurePath) -> None:
    """Open a set, to read or to write, and print the seconds and the memory that it took."""
    before, began = _peak_bytes(), perf_counter()
    if what == "read":
        len(FeatureSet.open(path))
    else:
        FeatureWriter(path.parents[2], _manifest()).__enter__()
    print(perf_counter() - began, _peak_bytes() - before)


def _peak_bytes() -> int:
    """Return this program's own highest memory, without what started it."""
    told = Path("/proc/self/status").read_text()
    return int(told.partition("VmHWM:")[2].split()[0]) * 1024


def _requests(root: Path) -> Iterator[Line]:
    """Yield writing, opening and reading shards of a usual size, with the requests of each."""
    os.environ["PROMPTFUSE_MIRROR"] = str(root / "mirror")
    held = bucket._obstore  # pyright: ignore[reportPrivateUsage]
    counting = Requests(held())
    bucket._obstore = lambda: counting  # pyright: ignore[reportPrivateUsage]
    place, rows = Url("memory://bench"), SHARD_ROWS * _COUNTED_SHARDS
    try:
        began = perf_counter()
        size_bytes = _fill(place)
        taken = {"write": (perf_counter() - began, counting.told())}
        began = perf_counter()
        features = FeatureSet.open(_set_at(place))
        taken["open"] = (perf_counter() - began, counting.told())
        for file in store_at(features.path).local.glob("shard-*"):
            file.unlink()
        began = perf_counter()
        features.read(features.keys, "pooler")
        taken["read all of"] = (perf_counter() - began, counting.told())
    finally:
        bucket._obstore = held  # pyright: ignore[reportPrivateUsage]
    for what, (seconds, told) in taken.items():
        shard = f"shards of {SHARD_ROWS} rows of {size_bytes / rows:,.0f} bytes"
        work = f"{what} {shard}: {told} a shard"
        yield Line(work, {"pfcli": lambda s=seconds: Taken(s)}, None, rows, "rows", once=True)


def _set_at(place: PurePath) -> PurePath:
    return place / "features" / "image" / _manifest().fingerprint


def _fill(place: PurePath) -> int:
    """Return the bytes of the shards that one writer claims, fills and commits."""
    draw = np.random.default_rng(0)
    with FeatureWriter(place, _manifest()) as writer:
        for _ in range(_COUNTED_SHARDS):
            keys = [draw.bytes(32) for _ in range(SHARD_ROWS)]
            values = draw.normal(size=(SHARD_ROWS, HIDDEN)).astype(np.float16)
            for key, row in zip(writer.claim(keys) or (), values, strict=True):
                writer.append(key, {"pooler": row})
            writer.commit()
    return FeatureSet.open(_set_at(place)).size_bytes


def _hashing(root: Path) -> Line:
    path = root / "large"
    path.write_bytes(os.urandom(_HASHED_BYTES))
    run = {"pfcli": lambda: file_sha256(path)}
    return Line("check bytes for the first time, one thread", run, None, _HASHED_BYTES / 1e9, "GB")


def _examples(root: Path) -> Line:
    draw = np.random.default_rng(0)
    examples = [
        Example(str(n), "what is on the table", "red", media={"image": draw.bytes(32)})
        for n in range(_EXAMPLES)
    ]
    info = DatasetInfo("bench", "table", "text", modalities=("image",), splits={"train": _EXAMPLES})

    def write() -> None:
        write_examples(root / "examples-of", info, {"train": examples})

    write()
    files = (root / "examples-of").rglob("*.arrow")
    size_bytes = sum(file.stat().st_size for file in files)
    work = f"write an examples table, {size_bytes / _EXAMPLES:.0f} bytes an example"
    return Line(work, {"pfcli": write}, None, _EXAMPLES, "examples", once=True)


def _encoding(machine: Machine) -> Line:
    """Return encoding decoded images with a ViT-base of random weights, and its products alone."""
    import torch
    from transformers import ViTConfig, ViTModel

    from .machine import Products

    model: Any = ViTModel(ViTConfig()).eval()
    model = model.to(machine.device)
    pixels = torch.randn(_BATCH, 3, 224, 224, device=machine.device)
    tokens, hidden = 197 * _BATCH, HIDDEN
    products = [
        Products(12 * 4, tokens, hidden, hidden),
        Products(12, tokens, hidden, 4 * hidden),
        Products(12, tokens, 4 * hidden, hidden),
    ]

    def encode() -> None:
        with torch.inference_mode():
            model(pixels)

    floor = machine.product_seconds(products)
    return Line("encode with ViT-base at 224", {"ViTModel": encode}, floor, _BATCH, "images")


if __name__ == "__main__":
    open_apart(sys.argv[1], Path(sys.argv[2]))
