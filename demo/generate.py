"""Write a generated dataset into a folder, once."""

import json
import shutil
import tempfile
from dataclasses import asdict
from pathlib import Path

from ..errors import ConfigError
from .mustard import Mustard
from .vqa import Vqa

GENERATORS: dict[str, Vqa | Mustard] = {"vqa": Vqa(), "mustard": Mustard()}
VERSION = 2
MARKER = "demo.json"


def generate(folder: Path, generator: Vqa | Mustard, *, seed: int = 0) -> Path:
    """Return the folder, after writing the dataset there if it is not there yet.

    The folder appears at once, when everything in it is written. The same generator and seed give
    the same bytes (with the same versions of Pillow and FFmpeg).

    Raises:
        ConfigError: If the folder exists and holds something else.
    """
    size = asdict(generator)
    planned = {"unit": generator.unit, "seed": seed, "size": size, "version": VERSION}
    if folder.exists():
        try:
            held = json.loads((folder / MARKER).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            held = None
        if held != planned:
            raise ConfigError(
                f"{folder} exists and does not hold what this version generates with seed {seed} "
                f"(its {MARKER} says {held}); remove the folder or choose another"
            )
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        generator.write(partial, seed)
        (partial / MARKER).write_text(json.dumps(planned, indent=1) + "\n", encoding="utf-8")
        partial.chmod(0o755)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder
