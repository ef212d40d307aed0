"""How long `pfcli train` takes from the command to the end of its first step."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from ..extract.settings import ExtractSettings
from ..library.extraction import extract
from ..library.workspace import SHIPPED, Workspace
from .bench import Line
from .machine import Machine
from .shapes import bart_base

_IMPORTS = "import torch; from transformers import AutoTokenizer, BartForConditionalGeneration"


def lines(machine: Machine) -> Iterator[Line]:
    """Yield a line a language model; the libraries' imports, which nothing can do without."""
    with TemporaryDirectory() as made:
        root = Path(made)
        where = Workspace("demo-mustard", cache=root / "pf/cache", demo_data=root / "pf/data")
        extract(where, ExtractSettings(limit=64))
        bart_base().model.save_pretrained(root / "bart-base")
        for part in (SHIPPED.parent / "models/bart").glob("tokenizer*"):
            shutil.copy(part, root / "bart-base")
        imports = partial(_run, root, "-c", _IMPORTS)
        step = ("-m", "promptfuse", "train", "--max-steps", "1", "--device", machine.device.type)
        for name, options in {
            "demo model": (),
            "BART-base shape from a folder": ("--plm", "bart-base", "--width-fix", "pad"),
        }.items():
            first = partial(_run, root, *step, *options)
            work = f"first step of 32, {name}"
            contenders = {"pfcli train": first, "the imports alone": imports}
            yield Line(work, contenders, once=True)


def _run(folder: Path, *arguments: str) -> None:
    command = [sys.executable, *arguments]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
