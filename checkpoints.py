"""Pretrained checkpoints by hub id or local folder: safetensors only, identified by their bytes."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from .errors import CheckpointMissing, UnsafeWeights

_WANTED = ["*.safetensors", "*.json", "*.txt", "*.model"]
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")


def local_checkpoint(source: str) -> Path:
    """Return the folder that holds a checkpoint, fetched from the hub if `source` is no folder.

    Args:
        source: A folder with `config.json`, or a hub id such as "facebook/bart-base".

    Raises:
        CheckpointMissing: If there is no such folder and the hub cannot give it.
        UnsafeWeights: If the checkpoint has weights in pickle only.
    """
    folder = Path(source).expanduser()
    if not folder.is_dir():
        folder = _from_hub(source)
    if not (folder / "config.json").is_file():
        raise CheckpointMissing(f"{folder} holds no config.json: it is not a model's folder")
    if not list(folder.glob("*.safetensors")):
        pickled = [path.name for pattern in _PICKLES for path in folder.glob(pattern)]
        held = f"only {', '.join(sorted(pickled))}" if pickled else "no weights"
        raise UnsafeWeights(
            f"{source} has {held}; promptfuse loads safetensors, never pickle. Convert it once "
            "with save_pretrained() in an environment you trust, or use a revision that has it"
        )
    return folder


def read_config(folder: Path) -> dict[str, Any]:
    """Return the checkpoint's `config.json`."""
    return json.loads((folder / "config.json").read_text(encoding="utf-8"))


def weights_sha256(folder: Path) -> str:
    """Return the sha256 over the folder's safetensors files, in order of name, in hex."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as file:
            while block := file.read(1 << 22):
                digest.update(block)
    return digest.hexdigest()


def _from_hub(source: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    if source.startswith((".", "/", "~")):
        raise CheckpointMissing(f"there is no folder {source}")
    try:
        return Path(snapshot_download(source, allow_patterns=_WANTED))
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise CheckpointMissing(
            f"no checkpoint {source!r}: it is no local folder, and the hub did not give it "
            f"({type(error).__name__}). Download it where there is a network and name its folder"
        ) from error
