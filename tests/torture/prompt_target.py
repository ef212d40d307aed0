"""The fuzzer's target of prompt files, apart because it needs a language model."""

import contextlib
import json
import math
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import safe_open

from promptfuse.library.answering import Answerer
from promptfuse.train.checkpoint import sealed
from promptfuse.train.settings import EvalSettings
from promptfuse.train.trained import load_prompt

from .targets import fingerprint_of
from .workshop import EXTRACT, TRAIN, lay_out, type_in

_MOST_VALUES = 10**6


def prompts(folder: Path) -> tuple[list[bytes], Callable[[bytes], None]]:
    """Return a trained prompt as JSON, and what reads such JSON as a prompt that answers."""
    lay_out(folder / "work", pictures=3, clips=2)
    type_in(EXTRACT, folder / "work")
    type_in((*TRAIN, "--epochs", "1", "--plm", f"{folder}/work/plm"), folder / "work")
    (trained,) = (folder / "work" / "pf" / "runs").glob("*/prompt.safetensors")
    picture, path = folder / "work" / "data" / "0.png", folder / "forged.safetensors"

    def one(data: bytes) -> None:
        path.write_bytes(forged(data))
        answerer = Answerer(load_prompt(path), cache=folder / "cache", settings=_SETTINGS)
        answerer.answer("nice day", **dict.fromkeys(answerer.modalities, picture))

    return [as_json(trained)], one


_SETTINGS = EvalSettings(device="cpu", threads=1)


def as_json(path: Path) -> bytes:
    """Return a prompt's metadata, and the shapes of its tensors."""
    with safe_open(path, framework="pt") as file:
        shapes = {name: list(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
        metadata = {
            name: json.loads(text) for name, text in file.metadata().items() if name != "sha256"
        }
    return json.dumps({"metadata": metadata, "tensors": shapes}).encode()


def forged(data: bytes) -> bytes:
    """Return the prompt file that JSON speaks of; what cannot be one is taken as the file."""
    try:
        content = json.loads(data)
        with contextlib.suppress(Exception):
            for use in content["metadata"]["encoders"].values():
                use["manifest"]["fingerprint"] = fingerprint_of(use["manifest"])
                use["fingerprint"] = use["manifest"]["fingerprint"]
        metadata = {name: json.dumps(value) for name, value in content["metadata"].items()}
        if sum(math.prod(shape) for shape in content["tensors"].values()) > _MOST_VALUES:
            return data
        return sealed({n: torch.ones(shape) for n, shape in content["tensors"].items()}, metadata)
    except Exception:  # noqa: BLE001  (no prompt at all)
        return data
