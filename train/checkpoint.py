"""Trained parameters and optimiser state on disk: safetensors; a crash leaves old or new."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from ..cache.atomic import parse_json_object, shorten, write_atomic
from ..cache.fingerprint import canonical_json
from ..errors import CacheError, RunError
from .fusion.parameters import Parameters
from .state import TrainState

_HASH, _HASH_DIGITS = "sha256", 64
_HEADER_BYTES, _READ_BYTES = 100 * 2**20, 2**20  # the first is what safetensors allows
_AGAIN = "restore it, or train the run (or export the prompt) again"
_VALUE = "value"  # a parameter itself, beside Adam's exp_avg, exp_avg_sq and step


def save_trained(path: Path, trained: Parameters, metadata: Mapping[str, object]) -> None:
    """Write one run's parameters as they answer, float32, with JSON values that tell of them.

    Raises:
        RunError: If a parameter holds NaN or infinity; nothing is written.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in trained.items()}
    broken = _not_finite(tensors)
    if broken:
        raise RunError(
            f"{path} is not written: {broken}, so every answer would be the same; train again "
            "with a lower learning rate (--lr-prompt, --lr-other)"
        )
    described = {name: json.dumps(value, sort_keys=True) for name, value in metadata.items()}
    write_atomic(path, sealed(tensors, described))


def load_trained(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, object]]:
    """Return one run's trained parameters, float32, `prompt` [P, H] among them, and their metadata.

    Raises:
        RunError: If the file is absent, not a run's, or holds other than finite float32 numbers.
    """
    tensors, texts = _read(path)
    if "prompt" not in tensors:
        raise RunError(f"{path} holds no prompt; it holds: {', '.join(sorted(tensors))}")
    for name, tensor in tensors.items():
        if tensor.dtype != torch.float32:
            held = str(tensor.dtype).removeprefix("torch.")
            raise RunError(f"{path}: {name} is {held}; expected float32")
    broken = _not_finite(tensors)
    if broken:
        raise RunError(f"{path}: {broken}; train the run again with a lower learning rate")
    metadata: dict[str, object] = {}
    for name, text in texts.items():
        try:
            metadata[name] = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise RunError(
                f"{path} is not a prompt of promptfuse: {name} in its metadata is {shorten(text)}, "
                f"which is not JSON to be read: {error}"
            ) from error
    return tensors, metadata


def _not_finite(tensors: Parameters) -> str | None:
    """Return what is wrong with the first tensor that holds NaN or infinity; None if none does."""
    for name, tensor in tensors.items():
        bad = tensor[~torch.isfinite(tensor)]
        if len(bad):
            kind = "NaN" if bad.isnan().any() else "infinity"
            return f"{name} holds {kind} in {len(bad):,} of {tensor.numel():,} places"
    return None


def save_checkpoint(path: Path, state: TrainState) -> None:
    """Write everything that training needs to go on to the same bits."""
    tensors = {"losses": torch.tensor(state.losses, dtype=torch.float64)}
    for name, parameter in state.parameters.items():
        tensors[f"{_VALUE}/{name}"] = parameter.detach().contiguous()
        for moment, value in state.optimizer.state.get(parameter, {}).items():
            tensors[f"{moment}/{name}"] = value
    write_atomic(path, sealed(tensors, {"step": str(state.step)}))


def load_checkpoint(path: Path, state: TrainState) -> None:
    """Put a saved state into `state`.

    Raises:
        RunError: If the file is not a checkpoint of parameters of these names and shapes.
    """
    tensors, metadata = _read(path)
    losses = tensors.pop("losses", torch.zeros(0))
    saved: dict[str, dict[str, torch.Tensor]] = {}
    for key, tensor in tensors.items():
        kind, _, name = key.partition("/")
        saved.setdefault(name, {})[kind] = tensor
    held = {name: tuple(kinds[_VALUE].shape) for name, kinds in saved.items() if _VALUE in kinds}
    wanted = {name: tuple(parameter.shape) for name, parameter in state.parameters.items()}
    if held != wanted:
        raise RunError(
            f"{path} holds {held or 'no parameters'}, this run trains {wanted}; "
            "delete the file to train it from the start"
        )
    for name, parameter in state.parameters.items():
        parameter.data.copy_(saved[name].pop(_VALUE))
        if saved[name]:
            state.optimizer.state[parameter] = {
                moment: value.to(parameter.device) if value.dim() else value
                for moment, value in saved[name].items()
            }
    state.step = int(metadata["step"])
    state.losses = losses.tolist()


def sealed(tensors: Parameters, metadata: Mapping[str, str]) -> bytes:
    """Return a safetensors file whose metadata has the sha256 of all else in it."""
    content = save(dict(tensors), {**metadata, _HASH: "0" * _HASH_DIGITS})
    start = 8 + int.from_bytes(content[:8], "little")
    sha256 = _content_sha256(json.loads(content[8:start]), iter([content[start:]]))
    header = content[:start].replace(b"0" * _HASH_DIGITS, sha256.encode(), 1)
    return header + content[start:]


def _content_sha256(header: dict[str, dict[str, object]], values: Iterator[bytes]) -> str:
    """Return the sha256, in hex, of a file's values and of its header without that sha256."""
    metadata = {name: text for name, text in header["__metadata__"].items() if name != _HASH}
    digest = hashlib.sha256(canonical_json({**header, "__metadata__": metadata}).encode())
    for part in values:
        digest.update(part)
    return digest.hexdigest()


def _check_hash(path: Path) -> None:
    """Check that a file is what was written: its header, its metadata and every value."""
    with path.open("rb") as stream:
        header_bytes = int.from_bytes(stream.read(8), "little")
        if not 0 < header_bytes <= min(_HEADER_BYTES, path.stat().st_size - 8):
            raise RunError(f"{path} is damaged (no header); {_AGAIN}")
        header = parse_json_object(stream.read(header_bytes), str(path), RunError)
        try:
            stored = header["__metadata__"][_HASH]
            sha256 = _content_sha256(header, iter(lambda: stream.read(_READ_BYTES), b""))
        except (AttributeError, KeyError, TypeError, CacheError) as error:
            raise RunError(
                f"{path} carries no sha256 of its content, so it was not written by this "
                f"promptfuse or is damaged; {_AGAIN}"
            ) from error
    if sha256 != stored:
        raise RunError(
            f"{path} is damaged or was edited: its content gives sha256 {sha256}, it carries "
            f"{shorten(stored)}; {_AGAIN}"
        )


def _read(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    if not path.is_file():
        raise RunError(
            f"{path} is not there; was the run interrupted? pfcli train --resume {path.parent}"
        )
    try:
        _check_hash(path)
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            metadata = dict(file.metadata())
    except (SafetensorError, OSError) as error:
        raise RunError(f"{path} is damaged ({error}); {_AGAIN}") from error
    del metadata[_HASH]
    return tensors, metadata
