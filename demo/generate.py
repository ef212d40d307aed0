"""Write a generated dataset into a folder, once."""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..errors import ConfigError

VERSION = 2
MARKER = "demo.json"


@dataclass(frozen=True)
class Generator:
    """What writes a dataset from a seed.

    Attributes:
        size: How many media each split has, as shipped: a dataclass.
        unit: What one of them is.
        write: From an empty folder, a seed, a size and a number of threads; yields once a medium.
    """

    size: Any
    unit: str
    write: Callable[[Path, int, Any, int], Iterator[None]]


def generate(
    folder: Path,
    generator: Generator,
    *,
    seed: int = 0,
    size: Any = None,
    workers: int | None = None,
    progress: bool = True,
) -> Path:
    """Return the folder, after writing the dataset there if it is not there yet.

    The folder appears at once, when everything in it is written. The same generator, seed and size
    give the same bytes (with the same versions of Pillow and FFmpeg).

    Args:
        folder: The dataset's; its parents are made if absent.
        generator: One of `GENERATORS`.
        seed: Fixes the content.
        size: How many images or clips; the shipped default if None.
        workers: Threads that encode clips; one a core if None.
        progress: Show a progress bar on stderr.

    Raises:
        ConfigError: If the folder exists and holds something else.
    """
    from tqdm import tqdm

    size = size or generator.size
    planned = {"unit": generator.unit, "seed": seed, "size": asdict(size), "version": VERSION}
    if folder.exists():
        _require_same(folder, planned)
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        media = generator.write(partial, seed, size, workers or os.cpu_count() or 1)
        silent = None if progress else True
        shown = {"desc": f"generate {folder.name}", "unit": generator.unit, "disable": silent}
        for _ in tqdm(media, total=size.media, **shown):
            pass
        (partial / MARKER).write_text(json.dumps(planned, indent=1) + "\n", encoding="utf-8")
        partial.chmod(0o755)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def _require_same(folder: Path, planned: dict[str, Any]) -> None:
    marker = folder / MARKER
    try:
        held = json.loads(marker.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        held = None
    if held != planned:
        raise ConfigError(
            f"{folder} exists and does not hold what this version generates with seed "
            f"{planned['seed']} (its {MARKER} says {held}); remove the folder or choose another"
        )
