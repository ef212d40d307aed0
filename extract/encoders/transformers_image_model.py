"""The part of the transformers image towers that needs torch; imported when a model is built."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from transformers import AutoConfig, AutoImageProcessor, AutoModel

from ...devices import device_named, dtype_named
from ...errors import EncoderError
from ...pretrained import Pretrained
from .base import EncoderOptions
from .tensors import (
    Weights,
    check_own_code,
    enough_memory,
    exact_float32,
    loading,
    parallel_passes,
    quiet_transformers,
)
from .towers import Layout, known_layout
from .transformers_image import PROCESSOR_BACKEND

# What a checkpoint may lack: a pooler that is not kept.
_POOLER_PREFIXES = ("pooler.", "head.")


class TransformersTower:
    """A Hugging Face image model in eval mode, with its image processor.

    Args:
        checkpoint: config, weights and preprocessing.
        options: dtypes and device.
    """

    def __init__(self, checkpoint: Pretrained, *, options: EncoderOptions) -> None:
        self.device = device_named(options.device)
        self.parallel = parallel_passes(self.device)
        self._compute = dtype_named(options.compute_dtype)
        self._storage = dtype_named(options.storage_dtype)
        self._processor = _processor(checkpoint)
        with loading(checkpoint.id), quiet_transformers():
            self.model, self.missing = _load(checkpoint, self._compute)
        self.model.to(self.device)
        _check_complete(checkpoint, self.missing)

    def transform(self, pixels: np.ndarray) -> np.ndarray:
        """Returns `[H, W, 3] uint8` as `[C, H, W] float32`, scaled and normalised."""
        return _processed(self._processor, pixels)

    @torch.inference_mode()
    def forward(self, batch: np.ndarray, fields: tuple[str, ...]) -> dict[str, np.ndarray]:
        """Returns `[B, ...]` for each field, for pixel values `[B, C, H, W] float32`."""
        output = self.outputs(torch.from_numpy(batch))
        return {name: _VALUES[name](output).to(self._storage).cpu().numpy() for name in fields}

    def outputs(self, batch: torch.Tensor, weights: Weights | None = None) -> Any:
        """Returns the model's own output for pixel values `[B, C, H, W]`, differentiable."""
        with exact_float32(self.device, self._compute), enough_memory(len(batch)):
            inputs = {"pixel_values": batch.to(self.device, self._compute)}
            return torch.func.functional_call(self.model, dict(weights or {}), (), inputs)

    def weights(self) -> dict[str, torch.Tensor]:
        """Returns all weights by name."""
        return dict(self.model.named_parameters())

    def live(
        self, decoded: torch.Tensor, field: str, weights: Weights | None = None
    ) -> torch.Tensor:
        """Returns a field for pixels `[B, C, H, W]` from 0 to 255, resized and cropped already."""
        said = self._processor
        pixel_values = said.rescale_and_normalize(
            decoded.to(self.device, torch.float32),
            do_rescale=bool(said.do_rescale),
            rescale_factor=said.rescale_factor,
            do_normalize=bool(said.do_normalize),
            image_mean=said.image_mean,
            image_std=said.image_std,
        )
        return _VALUES[field](self.outputs(pixel_values, weights))


def pixel_transform(checkpoint: Pretrained) -> Callable[[np.ndarray], np.ndarray]:
    """Returns what resizes and crops `[H, W, 3] uint8` to `[C, H, W] uint8`, and no more."""
    processor = _processor(checkpoint)
    return lambda pixels: _processed(processor, pixels, do_rescale=False, do_normalize=False)


def probe(tower: TransformersTower, checkpoint: Pretrained) -> Layout:
    """Returns the layout of a built tower: what it puts out for a black image.

    Raises:
        EncoderError: it gives no vectors for an image.
    """
    known = known_layout(checkpoint)
    image = tower.transform(np.zeros((224, 224, 3), np.uint8))
    with loading(checkpoint.id), torch.inference_mode():
        output = tower.outputs(torch.from_numpy(image)[None])
    states = getattr(output, "last_hidden_state", None)
    if states is None or states.ndim < 3:
        raise EncoderError(f"encoder {checkpoint.id!r} gives no vectors for an image")
    _, tokens, width = _sequence(output).shape
    if known is not None:
        return Layout(known.width, known.pooler, known.cls, known.pooler_is_cls, tokens)
    pooled = getattr(output, "pooler_output", None)
    pooler = pooled is not None and pooled[0].numel() == width and not tower.missing
    names = (name.rpartition(".")[2] for name in checkpoint.tensor_names)
    cls = any(name in ("cls_token", "class_embedding", "class_token") for name in names)
    return Layout(width=width, pooler=pooler, cls=cls, tokens=tokens)


def _processor(checkpoint: Pretrained) -> Any:
    with loading(checkpoint.id), quiet_transformers():
        return AutoImageProcessor.from_pretrained(
            checkpoint.folder,
            backend=PROCESSOR_BACKEND,
            local_files_only=True,
            trust_remote_code=False,
        )


def _processed(processor: Any, pixels: np.ndarray, **choices: bool) -> np.ndarray:
    # Without the format, an image three pixels high would be taken for three channels.
    writeable = pixels if pixels.flags.writeable else pixels.copy()  # torch wants no other
    output = processor(
        images=writeable, input_data_format="channels_last", return_tensors="np", **choices
    )
    return np.asarray(output["pixel_values"][0])


def _load(checkpoint: Pretrained, dtype: torch.dtype) -> tuple[Any, frozenset[str]]:
    check_own_code(checkpoint.id, checkpoint.config)
    config = AutoConfig.from_pretrained(
        checkpoint.folder, local_files_only=True, trust_remote_code=False
    )
    config = getattr(config, "vision_config", None) or config
    model, report = AutoModel.from_pretrained(
        checkpoint.folder,
        config=config,
        dtype=dtype,
        use_safetensors=True,
        local_files_only=True,
        trust_remote_code=False,
        output_loading_info=True,
    )
    return model.eval().requires_grad_(False), frozenset(report["missing_keys"])


def _check_complete(checkpoint: Pretrained, missing: frozenset[str]) -> None:
    lost = sorted(name for name in missing if not name.startswith(_POOLER_PREFIXES))
    if lost:
        raise EncoderError(
            f"encoder {checkpoint.id!r}: the checkpoint lacks {len(lost)} of the model's tensors, "
            f"such as {lost[0]!r}; they would be random"
        )


def _sequence(output: Any) -> torch.Tensor:
    """Returns `[B, S, H]`, also where the model gives a map `[B, H, rows, columns]`."""
    states = output.last_hidden_state
    return states if states.ndim == 3 else states.flatten(2).transpose(1, 2)


def _pooler(output: Any) -> torch.Tensor:
    return output.pooler_output.flatten(1)


_VALUES: dict[str, Callable[[Any], torch.Tensor]] = {
    "pooler": _pooler,
    "cls": lambda output: output.last_hidden_state[:, 0],
    "average": lambda output: _sequence(output).mean(dim=1),
    "sequence": _sequence,
}
