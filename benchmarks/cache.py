"""Random batches of cached rows as the trainer gets them, beside other ways to keep such rows.

Rows are float16 vectors of 768 and become float32 in batches of 32, with the files in the page
cache. The last line is how long a training step waits for its media.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import h5py
import numpy as np
import torch
from safetensors import safe_open
from safetensors.numpy import save_file

from ..cache.manifest import FieldSpec, Manifest
from ..cache.store import FeatureSet, FeatureWriter
from ..train.data.reading import grouped, in_advance, load, read_steps
from ..train.data.sources import Source
from ..train.plm.frozen import PLM
from .bench import Contender, Line, Taken
from .machine import Machine
from .shapes import HIDDEN, bart_base
from .step import _Batch, _step

_BATCH_SIZE = 32
_TOGETHER = 2730  # rows that are read ahead at a time, as the trainer does with such
_RAGGED_TOGETHER = 436
_STEPS = 2
_SHAPES = {
    "one vector": (82_783, 1024, (1, 1), 768),
    "20 to 80 vectors": (2_000, 256, (20, 80), 96),
}
"""Rows, rows a shard, from how few to how many vectors a row has, and batches that are read."""


def lines(machine: Machine) -> Iterator[Line]:
    """Yield a line a shape of rows, then what a step waits."""
    plm = bart_base(device=machine.device)
    with TemporaryDirectory() as made:
        for name, (count, shard_rows, steps, drawn) in _SHAPES.items():
            folder = Path(made) / str(steps[1])
            source = Source("image", _written(folder, count, shard_rows, steps), "value", None)
            random = np.random.default_rng(0)
            batches = [random.integers(0, count, _BATCH_SIZE) for _ in range(drawn)]
            ragged = steps != (1, 1)
            together = _RAGGED_TOGETHER if ragged else _TOGETHER
            contenders: dict[str, Contender] = {
                "read ahead by a thread": lambda s=source, b=batches, t=together: [
                    batch() for group in _ahead(s, plm, b, t) for batch in group
                ],
                "read as it is used": lambda s=source, b=batches: [
                    read_steps(s, rows, plm) for rows in b
                ],
                **(_ragged_peers if ragged else _peers)(source.features, batches, folder),
            }
            absent = {} if ragged else _absent()
            yield Line(
                f"batches of 32, {name}", contenders, None, _BATCH_SIZE * drawn, "rows", absent
            )
            if not ragged:
                waited = partial(
                    _waited,
                    source,
                    plm,
                    cycle(batches),
                    _step(_Batch(plm, _BATCH_SIZE, 1, 12), "promptfuse"),
                )
                yield Line(
                    f"a BART-base step, {name}",
                    {
                        "waiting for media": lambda w=waited: w()[0],
                        "the whole step": lambda w=waited: w()[1],
                    },
                    once=True,
                )


def _written(folder: Path, rows: int, shard_rows: int, steps: tuple[int, int]) -> FeatureSet:
    """Return a set of random rows."""
    ragged = steps != (1, 1)
    field = FieldSpec("value", "float16", (HIDDEN,), ragged=ragged)
    random = np.random.default_rng(0)
    values = random.normal(size=(steps[1] + 997, HIDDEN)).astype(np.float16)
    with FeatureWriter(folder, Manifest("image", {"id": "random"}, (field,))) as writer:
        for number in range(rows):
            length = int(random.integers(steps[0], steps[1] + 1))
            value = values[number % 997 :][:length] if ragged else values[number % 997]
            writer.append(hashlib.sha256(b"%d" % number).digest(), {"value": value})
            if (number + 1) % shard_rows == 0:
                writer.commit()
    return FeatureSet.open(writer.path)


def _ahead(source: Source, plm: PLM[Any], batches: Any, together: int) -> Iterator[list[Any]]:
    return in_advance(load(source, plm, group) for group in grouped(batches, together))


def _waited(
    source: Source, plm: PLM[Any], batches: Any, step: Callable[[], object]
) -> tuple[Taken, Taken]:
    """Return the seconds that a step waits for its media, and those that it takes with them."""
    media = (batch for group in _ahead(source, plm, batches, _TOGETHER) for batch in group)
    next(media)()
    waited, began = 0.0, perf_counter()
    for _ in range(_STEPS):
        asked = perf_counter()
        next(media)()
        waited += perf_counter() - asked
        step()
    whole = perf_counter() - began
    media.close()
    return Taken(waited / _STEPS), Taken(whole / _STEPS)


def _peers(
    features: FeatureSet, batches: Sequence[np.ndarray], folder: Path
) -> dict[str, Contender]:
    """Return the same rows in other files, each made into float32 in batches."""
    values = features.read_rows(np.arange(len(features)), "value").values
    values.tofile(folder / "flat")
    mapped = np.asarray(np.memmap(folder / "flat", np.float16, "r", shape=values.shape))
    save_file({"value": values}, folder / "rows.safetensors")
    tensors = safe_open(folder / "rows.safetensors", "pt").get_tensor("value")
    with h5py.File(folder / "rows.h5", "w") as file:
        file["value"] = values
    plain: Any = h5py.File(folder / "rows.h5")["value"]

    def from_h5(rows: np.ndarray) -> torch.Tensor:
        unique, back = np.unique(rows, return_inverse=True)
        return torch.from_numpy(plain[unique][back]).float()

    ways: dict[str, Callable[[np.ndarray], torch.Tensor]] = {
        "memory map": lambda rows: torch.from_numpy(mapped.take(rows, axis=0)).float(),
        "safetensors": lambda rows: tensors[torch.from_numpy(rows)].float(),
        "h5py": from_h5,
    }
    if not _absent():
        from datasets import Dataset

        held: Any = Dataset.from_dict({"value": values}).with_format("torch")
        ways["Hugging Face datasets"] = lambda rows: held[rows]["value"].float()
    return {name: partial(_all, way, batches) for name, way in ways.items()}


def _all(way: Callable[[np.ndarray], torch.Tensor], batches: Sequence[np.ndarray]) -> None:
    for rows in batches:
        way(rows)


def _absent() -> dict[str, str]:
    try:
        import datasets  # noqa: F401
    except ImportError:
        return {"Hugging Face datasets": "pip install promptfuse[bench]"}
    return {}


def _ragged_peers(
    features: FeatureSet, batches: Sequence[np.ndarray], folder: Path
) -> dict[str, Contender]:
    """Return rows of a flat map, each padded into float32 as it lies there."""
    packed = features.read_rows(np.arange(len(features)), "value")
    packed.values.tofile(folder / "flat")
    shape, offsets = packed.values.shape, packed.offsets
    mapped = torch.from_numpy(np.asarray(np.memmap(folder / "flat", np.float16, "r", shape=shape)))

    def padded(rows: np.ndarray) -> torch.Tensor:
        starts, ends = offsets[rows], offsets[rows + 1]
        values = torch.empty(len(rows), int((ends - starts).max()), HIDDEN)
        for row, start, end in zip(values, starts.tolist(), ends.tolist(), strict=True):
            row[: end - start] = mapped[start:end]
            row[end - start :] = 0
        return values

    return {"memory map": partial(_all, padded, batches)}
