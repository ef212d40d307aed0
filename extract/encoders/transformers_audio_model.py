"""The part of the audio encoders that needs torch; imported when a model is built."""

from typing import Any

import numpy as np
import torch
from transformers import AutoConfig, AutoFeatureExtractor

from ...devices import device_named, dtype_named
from ...errors import EncoderError, UnknownName
from ...pretrained import Pretrained
from .base import SOUND_FIELD, EncoderOptions
from .tensors import (
    Weights,
    check_own_code,
    enough_memory,
    exact_float32,
    load_model,
    loading,
    parallel_passes,
    quiet_transformers,
)

# Used in training only: checkpoints often lack it.
_TRAINING_ONLY = ("masked_spec_embed",)

_LEAST_VARIANCE = 1e-7  # added by the feature extractors of transformers


class TransformersAudioModel:
    """A Hugging Face audio model in eval mode, with its feature extractor.

    Args:
        checkpoint: Config, weights and preprocessing.
        options: Dtypes and device.
        shortest_samples: To which a shorter clip is extended with zeros.
    """

    def __init__(
        self, checkpoint: Pretrained, *, options: EncoderOptions, shortest_samples: int
    ) -> None:
        self._shortest_samples = shortest_samples
        self.device = device_named(options.device)
        self.parallel = parallel_passes(self.device)
        self._compute = dtype_named(options.compute_dtype)
        self._storage = dtype_named(options.storage_dtype)
        with loading(checkpoint.id), quiet_transformers():
            self._extractor = AutoFeatureExtractor.from_pretrained(
                checkpoint.folder, local_files_only=True, trust_remote_code=False
            )
            self.model = _load(checkpoint, self._compute)
        self.model.to(self.device)

    def transform(self, samples: np.ndarray) -> np.ndarray:
        """Return `[S] float32`, with zero mean and unit variance if the extractor says so."""
        output = self._extractor(samples, sampling_rate=self._extractor.sampling_rate)
        return np.asarray(output["input_values"][0], dtype=np.float32)

    @torch.inference_mode()
    def forward(self, batch: np.ndarray, lengths: np.ndarray | None) -> np.ndarray:
        """Return `[B, A, H]` for `[B, S] float32`; vectors past a clip's end mean nothing."""
        mask = None if lengths is None else self._mask(lengths, batch.shape[1])
        states = self._states(torch.from_numpy(batch), mask)
        return states.to(self._storage).cpu().numpy()

    def weights(self) -> dict[str, torch.Tensor]:
        """Return all weights by name."""
        return dict(self.model.named_parameters())

    def live(
        self, decoded: torch.Tensor, field: str, weights: Weights | None = None
    ) -> torch.Tensor:
        """Return `[B, A, H]` for samples `[B, S]` from -1 to 1, differentiable."""
        if field != SOUND_FIELD:
            raise UnknownName("field of an audio encoder", field, [SOUND_FIELD])
        samples = decoded.to(self.device, torch.float32)
        if self._extractor.do_normalize:
            variance, mean = torch.var_mean(samples, dim=1, correction=0, keepdim=True)
            samples = (samples - mean) / torch.sqrt(variance + _LEAST_VARIANCE)
        lacking = max(0, self._shortest_samples - samples.shape[1])
        return self._states(torch.nn.functional.pad(samples, (0, lacking)), weights=weights)

    def _states(
        self, batch: torch.Tensor, mask: torch.Tensor | None = None, weights: Weights | None = None
    ) -> torch.Tensor:
        with exact_float32(self.device, self._compute), enough_memory(len(batch)):
            inputs = batch.to(self.device, self._compute)
            output = torch.func.functional_call(
                self.model, dict(weights or {}), (inputs,), {"attention_mask": mask}
            )
        return output.last_hidden_state

    def _mask(self, lengths: np.ndarray, samples: int) -> torch.Tensor:
        """Return `[B, S] int64`, 1 where there is sound."""
        ends = torch.from_numpy(lengths)[:, None]
        return (torch.arange(samples)[None, :] < ends).long().to(self.device)


def _load(checkpoint: Pretrained, dtype: torch.dtype) -> Any:
    check_own_code(checkpoint.id, checkpoint.config)
    config = AutoConfig.from_pretrained(
        checkpoint.folder, local_files_only=True, trust_remote_code=False
    )
    model, missing = load_model(checkpoint, config, dtype)
    lost = sorted(name for name in missing if not name.endswith(_TRAINING_ONLY))
    if lost:
        raise EncoderError(
            f"encoder {checkpoint.id!r}: the checkpoint lacks {len(lost)} of the model's tensors, "
            f"such as {lost[0]!r}; they would be random"
        )
    return model
