"""The two demo datasets by name, and `generate`, which writes one once."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ..errors import ConfigError, UnknownName

if TYPE_CHECKING:
    from .mustard import MustardSize
    from .vqa import VqaSize

DemoName = Literal["demo-vqa", "demo-mustard"]
GENERATOR_VERSION = 2
MARKER = "demo.json"


@dataclass(frozen=True)
class DemoDataset:
    """What a demo dataset is read with."""

    adapter: str
    modalities: tuple[str, ...]
    train_split: str
    test_split: str


DEMO_DATASETS: dict[str, DemoDataset] = {
    "demo-vqa": DemoDataset("vqav2", ("image",), "train", "val"),
    "demo-mustard": DemoDataset("mustard", ("video", "audio"), "train", "test"),
}


def generate(
    name: str,
    root: Path,
    *,
    seed: int = 0,
    size: VqaSize | MustardSize | None = None,
    workers: int | None = None,
    progress: bool = True,
) -> Path:
    """Return the folder `root/name`, after writing the dataset there if it is not there yet.

    The folder appears at once, when everything in it is written. The same name, seed and size give
    the same bytes (with the same versions of Pillow and FFmpeg).

    Args:
        name: one of `DEMO_DATASETS`.
        root: the parent folder; made if absent.
        seed: fixes the content.
        size: how many images or clips; the shipped default if None.
        workers: threads that encode clips; one a core if None.
        progress: show a progress bar on stderr.

    Raises:
        UnknownName: there is no such demo dataset.
        ConfigError: the folder exists and holds something else.
    """
    if name not in DEMO_DATASETS:
        raise UnknownName("demo dataset", name, list(DEMO_DATASETS))
    plan = _Plan.of(name, seed, size)
    target = Path(root) / name
    if target.exists():
        _check_same(target, plan)
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=target.parent))
    try:
        _write(partial, plan, workers or os.cpu_count() or 1, progress)
        partial.chmod(0o755)
        partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return target


@dataclass(frozen=True)
class _Plan:
    """All that the content depends on."""

    name: str
    seed: int
    size: VqaSize | MustardSize

    @classmethod
    def of(cls, name: str, seed: int, size: VqaSize | MustardSize | None) -> _Plan:
        """Return the plan of a dataset; None as size means the default."""
        from .mustard import MustardSize
        from .vqa import VqaSize

        return cls(name, seed, size or (VqaSize() if name == "demo-vqa" else MustardSize()))

    @property
    def record(self) -> dict[str, object]:
        """Return what the marker file in a finished folder says."""
        return {
            "name": self.name,
            "seed": self.seed,
            "size": asdict(self.size),
            "version": GENERATOR_VERSION,
        }

    def units(self) -> int:
        """Return how many images or clips there are."""
        sizes = asdict(self.size)
        return sum(sizes[split] for split in ("train", "val", "test") if split in sizes)

    def write(self, folder: Path, workers: int) -> Iterator[None]:
        """Yields once an image or clip written."""
        from .mustard import MustardSize, write_mustard
        from .vqa import write_vqa

        if isinstance(self.size, MustardSize):
            return write_mustard(folder, seed=self.seed, size=self.size, workers=workers)
        return write_vqa(folder, seed=self.seed, size=self.size)


def _write(folder: Path, plan: _Plan, workers: int, progress: bool) -> None:
    """Writes a dataset into an empty folder, the marker last."""
    from tqdm import tqdm

    bar = tqdm(
        plan.write(folder, workers),
        total=plan.units(),
        desc=f"generate {plan.name}",
        unit="image" if plan.name == "demo-vqa" else "clip",
        disable=None if progress else True,
    )
    for _ in bar:
        pass
    (folder / MARKER).write_text(json.dumps(plan.record, indent=1) + "\n", encoding="utf-8")


def _check_same(target: Path, plan: _Plan) -> None:
    """Raises ConfigError unless the folder holds just the planned dataset."""
    marker = target / MARKER
    try:
        found = json.loads(marker.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = None
    if found != plan.record:
        raise ConfigError(
            f"{target} exists and does not hold {plan.name} with seed {plan.seed} as this version "
            f"makes it (its {MARKER} says {found}); remove the folder or choose another"
        )
