"""Pretrained models: folders of JSON and safetensors files; the devices and dtypes they run in.

A folder is read as JSON and bytes; neither torch nor transformers is imported for it, so that a
second extraction can tell in a moment that nothing is left to do.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .cache.atomic import read_json_object, shorten
from .errors import ConfigError, PretrainedError, UnknownName, UnsafeWeights

if TYPE_CHECKING:
    import torch

DTYPES = ("float32", "bfloat16", "float16")
CONFIG_NAME = "config.json"
PROCESSOR_NAMES = ("processor_config.json", "preprocessor_config.json")
WEIGHTS_NAME = "model.safetensors"
INDEX_NAME = "model.safetensors.index.json"
HUB_PATTERNS = (CONFIG_NAME, *PROCESSOR_NAMES, "model*.safetensors", INDEX_NAME)
TOKENIZER_NAMES = ("tokenizer.json", "vocab.json", "vocab.txt", "spiece.model")
TOKENIZER_CONFIG = "tokenizer_config.json"
_TOKENIZER_PARTS = (TOKENIZER_CONFIG, "merges.txt", "special_tokens_map.json", "added_tokens.json")
PLM_PATTERNS = (CONFIG_NAME, "model*.safetensors", INDEX_NAME, *TOKENIZER_NAMES, *_TOKENIZER_PARTS)

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")

# Parts of a config.json that say where a model came from, not what it computes.
_CONFIG_NOISE = {"_name_or_path", "architectures", "auto_map", "dtype", "name_or_path"}
_CONFIG_NOISE |= {"torch_dtype", "transformers_version"}


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
        return self._json(CONFIG_NAME)

    def _json(self, name: str) -> dict[str, Any]:
        return read_json_object(self.folder / name, PretrainedError, owner=f"model {self.id!r}")

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
        told = self._json(TOKENIZER_CONFIG) if (self.folder / TOKENIZER_CONFIG).is_file() else {}
        from .cache.keys import files_sha256

        return hashlib.sha256(files_sha256(held).encode() + _without_noise(told)).hexdigest()

    @property
    def weights(self) -> list[Path]:
        """The safetensors files that the model is loaded from, sorted; all of them are there."""
        whole, index = self.folder / WEIGHTS_NAME, self.folder / INDEX_NAME
        if whole.is_file():
            return [whole]
        if not index.is_file():
            raise self.no_weights(WEIGHTS_NAME)
        parts = self._json(INDEX_NAME).get("weight_map", {}).values()
        paths = sorted({self.folder / part for part in parts})
        missing = [path.name for path in paths if not path.is_file()]
        if missing or not paths:
            raise PretrainedError(f"{index}: names files that are not there: {missing}")
        return paths

    def no_weights(self, wanted: str) -> PretrainedError | UnsafeWeights:
        """Return the error for a folder without usable weights, such as a file `wanted`."""
        if self.revision is not None:  # of a hub repository's pickles none is fetched
            return UnsafeWeights(
                f"model {self.id!r}: the copy of its repository in {self.folder} has no {wanted}; "
                f"if it was fetched in part, run `hf download {self.id}`; weights published only "
                "as pickle, which can run code, are not read: convert them, or choose another "
                "revision"
            )
        pickles = sorted(path.name for pattern in _PICKLES for path in self.folder.glob(pattern))
        if pickles:
            return UnsafeWeights(
                f"model {self.id!r}: {self.folder} has its weights only as pickle "
                f"({', '.join(pickles)}), which can run code when read; convert them to {wanted} "
                "first"
            )
        return PretrainedError(f"model {self.id!r}: no {wanted} in {self.folder}")

    @cached_property
    def weights_sha256(self) -> str:
        """The sha256 over the weights' bytes."""
        from .cache.checked import sha256_once  # brings numpy, which --help does without

        return sha256_once(self.weights)

    @cached_property
    def tensor_names(self) -> frozenset[str]:
        """The names of the stored tensors, read from the files' headers alone."""
        from safetensors import SafetensorError, safe_open

        names: set[str] = set()
        for path in self.weights:
            try:
                with safe_open(path, framework="np") as file:
                    names.update(file.keys())
            except SafetensorError as error:
                raise PretrainedError(f"{path}: not a safetensors file: {error}") from error
        return frozenset(names)

    def identity(self, family: str, kind: str, preprocessing: Mapping[str, Any]) -> dict[str, Any]:
        """Return what decides the vectors of an encoder of this checkpoint."""
        return {
            "family": family,
            "id": self.id,
            "revision": self.revision,
            "class": kind,
            "weights_sha256": self.weights_sha256,
            "config_sha256": self.config_sha256,
            "preprocessing": dict(preprocessing),
        }

    def processor(self, kind: str) -> dict[str, Any]:
        """Return the stored preprocessing parameters.

        `kind` is "image_processor" or "feature_extractor", the key of a nested file.
        """
        nested, plain = PROCESSOR_NAMES
        if (self.folder / nested).is_file():
            content = self._json(nested).get(kind)
            if isinstance(content, dict):
                return content
        if (self.folder / plain).is_file():
            return self._json(plain)
        remedy = f"if the repository has one, run `hf download {self.id}` where there is a network"
        if self.revision is None:
            remedy = "write it there with the processor's save_pretrained()"
        raise PretrainedError(
            f"model {self.id!r}: no {plain} in {self.folder}, so its preprocessing is unknown; "
            f"{remedy}"
        )


def folder_of(spec: str) -> Path | None:
    """Return the folder that a name is of, None where there is none."""
    try:
        folder = Path(spec).expanduser()
        return folder if folder.is_dir() else None
    except (OSError, RuntimeError) as error:  # too long a name; nobody's home
        raise PretrainedError(f"model {shorten(spec)}: no folder's name: {error}") from error


def resolve(
    spec: str, *, revision: str | None = None, patterns: Sequence[str] = HUB_PATTERNS
) -> Pretrained:
    """Return the checkpoint that a local folder or a hub id names.

    A hub id that is already in the local cache is used from there, without a look at the network.
    `revision` is a branch, tag or commit of the hub, `patterns` are the files that are fetched.
    """
    folder = folder_of(spec)
    if folder is not None:
        if revision is not None:
            raise PretrainedError(
                f"model {spec!r} is a folder, which has no revision {revision!r}: leave that out, "
                "or give a hub id"
            )
        return Pretrained(folder=folder, id=folder.resolve().name)
    if not _HUB_ID.fullmatch(spec):
        raise PretrainedError(f"model {spec!r}: no such folder, and not a hub id like owner/name")
    folder = _snapshot(spec, revision, patterns)
    return Pretrained(folder=folder, id=spec, revision=folder.name)


def _snapshot(hub_id: str, revision: str | None, patterns: Sequence[str]) -> Path:
    """Return a repository's local copy, fetched if it is not complete."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    wanted: dict[str, Any] = {"revision": revision, "allow_patterns": list(patterns)}
    with suppress(OSError):  # not in the cache
        folder = Path(snapshot_download(hub_id, local_files_only=True, **wanted))
        if _complete(folder, patterns):
            return folder
    try:
        return Path(snapshot_download(hub_id, **wanted))
    except (OSError, HfHubHTTPError) as error:
        named = repr(hub_id) if revision is None else f"{hub_id!r} at revision {revision!r}"
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise PretrainedError(
            f"model {named} is neither a folder nor in the local hub cache, and could not be "
            f"downloaded ({reason}); where there is a network run `hf download {hub_id}`, or give "
            "a folder that holds its config.json, model.safetensors and preprocessing or tokenizer"
        ) from error


def _complete(folder: Path, patterns: Sequence[str]) -> bool:
    """Return whether a cached copy, perhaps made for another purpose, has what is needed."""
    groups = [[CONFIG_NAME], [*PROCESSOR_NAMES, *TOKENIZER_NAMES]]
    wanted = [[name for name in names if name in patterns] for names in groups]
    if any(name.endswith(".safetensors") for name in patterns):
        wanted.append(["*.safetensors"])
    return all(any(any(folder.glob(name)) for name in names) for names in wanted if names)


def _without_noise(config: Mapping[str, Any]) -> bytes:
    kept = {name: value for name, value in config.items() if name not in _CONFIG_NOISE}
    return json.dumps(kept, sort_keys=True, separators=(",", ":")).encode()


def dtype_named(name: str) -> "torch.dtype":
    """Return the torch dtype of a name in `DTYPES`."""
    import torch

    if name not in DTYPES:
        raise UnknownName("dtype", name, list(DTYPES))
    return getattr(torch, name)


def dtype_on(device: "torch.device", name: str) -> "torch.dtype":
    """Return the dtype of a name, or of "auto": bfloat16 on a GPU that has it, else float32."""
    import torch

    if name != "auto":
        return dtype_named(name)
    narrow = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.bfloat16 if narrow else torch.float32


def device_named(name: str) -> "torch.device":
    """Return the device of a name: "auto" is the first GPU, or else the processor."""
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    here = ["cpu", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
    if torch.backends.mps.is_available():
        here.append("mps")
    if name in here or (name == "cuda" and "cuda:0" in here):
        return torch.device(name)
    known = re.fullmatch(r"mps|cuda(:\d+)?", name)
    problem = "this machine has no such device" if known else "there is no such kind of device"
    raise ConfigError(f"device {name!r}: {problem}; choose one of: auto, {', '.join(here)}")
