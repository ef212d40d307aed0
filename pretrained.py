"""Pretrained models: folders of JSON and safetensors files, local or from the hub.

Everything here reads JSON and hashes bytes; neither torch nor transformers is imported, so that a
second extraction can tell in a moment that nothing is left to do.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from .cache.atomic import read_json_object
from .errors import PretrainedError, UnsafeWeights

CONFIG_NAME = "config.json"
PROCESSOR_NAMES = ("processor_config.json", "preprocessor_config.json")
WEIGHTS_NAME = "model.safetensors"
INDEX_NAME = "model.safetensors.index.json"
HUB_PATTERNS = (CONFIG_NAME, *PROCESSOR_NAMES, "model*.safetensors", INDEX_NAME)
TOKENIZER_NAMES = ("tokenizer.json", "vocab.json", "vocab.txt", "spiece.model")
TOKENIZER_CONFIG = "tokenizer_config.json"
PLM_PATTERNS = (
    CONFIG_NAME,
    *TOKENIZER_NAMES,
    "merges.txt",
    TOKENIZER_CONFIG,
    "special_tokens_map.json",
    "added_tokens.json",
    "model*.safetensors",
    INDEX_NAME,
)

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")
_HEADER_LIMIT_BYTES = 100_000_000

# Parts of a config.json that say where a model came from, not what it computes.
_CONFIG_NOISE = frozenset(
    {
        "_name_or_path",
        "architectures",
        "auto_map",
        "dtype",
        "name_or_path",
        "torch_dtype",
        "transformers_version",
    }
)


@dataclass(frozen=True)
class Pretrained:
    """A pretrained model's folder.

    Attributes:
        folder: Where the files are on this machine.
        id: The hub id, or a local folder's own name, so that a moved folder is still the same.
        revision: The hub's commit, None for a local folder.
    """

    folder: Path
    id: str
    revision: str | None = None

    @cached_property
    def config(self) -> dict[str, Any]:
        """The content of `config.json`."""
        return read_json_object(
            self.folder / CONFIG_NAME, PretrainedError, owner=f"model {self.id!r}"
        )

    @property
    def model_type(self) -> str:
        """The architecture's name in `config.json`, such as "vit"."""
        name = self.config.get("model_type")
        if not isinstance(name, str):
            raise PretrainedError(f"{self.folder / CONFIG_NAME}: no model_type; is it an encoder?")
        return name

    @property
    def config_sha256(self) -> str:
        """The sha256 of what the configuration says about the computation."""
        return hashlib.sha256(_without_noise(self.config)).hexdigest()

    @property
    def tokenizer_sha256(self) -> str:
        """The sha256 of the tokenizer's vocabulary and of what its configuration says."""
        whole = self.folder / TOKENIZER_NAMES[0]
        names = [whole.name] if whole.is_file() else [*TOKENIZER_NAMES, "merges.txt"]
        held = [self.folder / name for name in names if (self.folder / name).is_file()]
        if not held:
            raise PretrainedError(
                f"model {self.id!r}: {self.folder} holds no tokenizer; expected one of: "
                f"{', '.join(TOKENIZER_NAMES)}; write it there with its save_pretrained()"
            )
        config = self.folder / TOKENIZER_CONFIG
        told = _json(config, self.id) if config.is_file() else {}
        return hashlib.sha256(files_sha256(held).encode() + _without_noise(told)).hexdigest()

    @property
    def weights(self) -> list[Path]:
        """The safetensors files that the model is loaded from."""
        return weights_files(self.folder, name=self.id, hub=self.revision is not None)

    @cached_property
    def weights_sha256(self) -> str:
        """The sha256 over the weights' bytes."""
        return files_sha256(self.weights)

    @cached_property
    def tensor_names(self) -> frozenset[str]:
        """The names of the stored tensors, read from the files' headers alone."""
        return frozenset(name for path in self.weights for name in tensor_names(path))

    @property
    def _remedy(self) -> str:
        if self.revision is None:
            return "write it there with the processor's save_pretrained()"
        return f"if the repository has one, run `hf download {self.id}` where there is a network"

    def processor(self, kind: str) -> dict[str, Any]:
        """Return the stored preprocessing parameters.

        Args:
            kind: "image_processor" or "feature_extractor", the key of a nested file.

        Raises:
            PretrainedError: If the folder has no such file.
        """
        held = [self.folder / name for name in PROCESSOR_NAMES if (self.folder / name).is_file()]
        for path in held:
            content = _json(path, self.id)
            if path.name == PROCESSOR_NAMES[0]:
                content = content.get(kind)
            if isinstance(content, dict):
                return content
        raise PretrainedError(
            f"model {self.id!r}: no {PROCESSOR_NAMES[1]} in {self.folder}, so its preprocessing "
            f"is unknown; {self._remedy}"
        )


def resolve(
    spec: str, *, revision: str | None = None, patterns: Sequence[str] = HUB_PATTERNS
) -> Pretrained:
    """Return the checkpoint that a local folder or a hub id names.

    A hub id that is already in the local cache is used from there, without a look at the network.

    Args:
        spec: A folder or a hub id.
        revision: A branch, tag or commit of the hub; a local folder has none.
        patterns: The files that are fetched.

    Raises:
        PretrainedError: If it is neither, or could not be fetched.
    """
    folder = Path(spec).expanduser()
    if folder.is_dir():
        if revision is not None:
            raise PretrainedError(
                f"model {spec!r} is a folder, which has no revision {revision!r}: leave that out, "
                "or give a hub id"
            )
        return Pretrained(folder=folder, id=folder.resolve().name)
    if not _HUB_ID.fullmatch(spec):
        raise PretrainedError(f"model {spec!r}: no such folder, and not a hub id like owner/name")
    folder = _cached_snapshot(spec, revision, patterns) or _download(spec, revision, patterns)
    return Pretrained(folder=folder, id=spec, revision=folder.name)


def _cached_snapshot(hub_id: str, revision: str | None, patterns: Sequence[str]) -> Path | None:
    from huggingface_hub import snapshot_download

    try:
        folder = Path(
            snapshot_download(
                hub_id, revision=revision, allow_patterns=list(patterns), local_files_only=True
            )
        )
    except OSError:  # not in the cache
        return None
    return folder if _complete(folder, patterns) else None


def _complete(folder: Path, patterns: Sequence[str]) -> bool:
    """Return whether a cached copy, perhaps made for another purpose, has what is needed."""
    weights = any(name.endswith(".safetensors") for name in patterns)
    if weights and not any(folder.glob("*.safetensors")):
        return False
    if CONFIG_NAME not in patterns:
        return True
    beside = [name for name in (*PROCESSOR_NAMES, *TOKENIZER_NAMES) if name in patterns]
    has_beside = not beside or any((folder / name).is_file() for name in beside)
    return (folder / CONFIG_NAME).is_file() and has_beside


def _download(hub_id: str, revision: str | None, patterns: Sequence[str]) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    try:
        folder = snapshot_download(hub_id, revision=revision, allow_patterns=list(patterns))
    except (OSError, HfHubHTTPError) as error:
        named = repr(hub_id) if revision is None else f"{hub_id!r} at revision {revision!r}"
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise PretrainedError(
            f"model {named} is neither a folder nor in the local hub cache, and could not be "
            f"downloaded ({reason}); where there is a network run `hf download {hub_id}`, or give "
            "a folder that holds its config.json, model.safetensors and preprocessing or tokenizer"
        ) from error
    return Path(folder)


def weights_files(folder: Path, *, name: str, hub: bool = False) -> list[Path]:
    """Return the safetensors files of a checkpoint, sorted.

    Raises:
        UnsafeWeights: If the weights exist only as pickle.
        PretrainedError: If there are none, or a part of them is missing.
    """
    whole, index = folder / WEIGHTS_NAME, folder / INDEX_NAME
    if whole.is_file():
        return [whole]
    if index.is_file():
        parts = _json(index, name).get("weight_map", {}).values()
        paths = sorted({folder / part for part in parts})
        missing = [path.name for path in paths if not path.is_file()]
        if missing or not paths:
            raise PretrainedError(f"{index}: names files that are not there: {missing}")
        return paths
    raise no_weights(folder, WEIGHTS_NAME, name=name, hub=hub)


def no_weights(
    folder: Path, wanted: str, *, name: str, hub: bool = False
) -> PretrainedError | UnsafeWeights:
    """Return the error for a checkpoint without usable weights.

    Args:
        folder: Where they were looked for.
        wanted: The file that would do.
        name: The model.
        hub: Whether the folder is the copy of a hub repository, of which pickles are not fetched.
    """
    if hub:
        return UnsafeWeights(
            f"model {name!r}: the copy of its repository in {folder} has no {wanted}; if it was "
            f"fetched in part, run `hf download {name}`; weights published only as pickle, which "
            "can run code, are not read: convert them, or choose another revision"
        )
    pickles = sorted(path.name for pattern in _PICKLES for path in folder.glob(pattern))
    if pickles:
        return UnsafeWeights(
            f"model {name!r}: {folder} has its weights only as pickle ({', '.join(pickles)}), "
            f"which can run code when read; convert them to {wanted} first"
        )
    return PretrainedError(f"model {name!r}: no {wanted} in {folder}")


def _json(path: Path, name: str) -> dict[str, Any]:
    return read_json_object(path, PretrainedError, owner=f"model {name!r}")


def files_sha256(paths: Iterable[Path]) -> str:
    """Return the sha256 over several files' bytes, one after the other."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while block := file.read(1 << 22):
                digest.update(block)
    return digest.hexdigest()


def tensor_names(path: Path) -> list[str]:
    """Return the names of the tensors in a safetensors file, from its header.

    Raises:
        PretrainedError: If the file has no such header.
    """
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > min(_HEADER_LIMIT_BYTES, os.fstat(file.fileno()).st_size):
                raise PretrainedError(f"{path}: not a safetensors file (header of {length} bytes)")
            header = json.loads(file.read(length))
    except (struct.error, ValueError) as error:
        if isinstance(error, PretrainedError):
            raise
        raise PretrainedError(f"{path}: not a safetensors file: {error}") from error
    return [name for name in header if name != "__metadata__"]


def _without_noise(config: Mapping[str, Any]) -> bytes:
    kept = {name: value for name, value in config.items() if name not in _CONFIG_NOISE}
    return json.dumps(kept, sort_keys=True, separators=(",", ":")).encode()
