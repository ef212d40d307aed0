"""Audio encoders of the wav2vec2 kind: raw samples in, about 50 vectors a second out."""

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ...cache.manifest import FieldSpec
from ...errors import EncoderError, MediumEmpty
from ...pretrained import Pretrained
from ..media import Frames, Image, Waveform
from .base import BLANK_SECONDS, SOUND_FIELD, Decoding, EncoderOptions, Row

if TYPE_CHECKING:
    from .built_model import BuiltModel

FAMILY = "transformers-audio"

#: Architectures with wav2vec2's convolutions in front: `model_type` → whether a padded batch with
#: an attention mask gives each clip what it gets alone. The others convolve again over padded
#: positions deeper in the network.
ARCHITECTURES: dict[str, bool] = {
    "data2vec-audio": False,
    "hubert": True,
    "unispeech": True,
    "unispeech-sat": True,
    "wav2vec2": True,
    "wav2vec2-conformer": False,
    "wavlm": True,
}

# A batch of clips holds at most this much sound, padding included, for each of its places.
_BATCH_SECONDS_EACH = 10.0

# Without a GPU batches run side by side, and large ones fill the memory without being faster:
# the first convolution alone makes 6.5 MB of a second of sound.
_PROCESSOR_BATCH_SECONDS = 30.0

_PROCESSOR_NOISE = frozenset({"auto_map", "processor_class", "return_attention_mask"})

Padding = Literal["none", "masked"]

# Used in training only: checkpoints often lack it.
_TRAINING_ONLY = ("masked_spec_embed",)

_LEAST_VARIANCE = 1e-7  # added by the feature extractors of transformers


class AudioEncoder:
    """Waveforms → ragged rows `[A, H]`.

    Padding never changes a feature. Where the first convolution's group norm runs over the whole
    clip, zeros behind it would change its statistics: only clips of one length share a batch.
    Where every norm is per step, clips are padded and masked. A clip shorter than the receptive
    field of one vector is extended with zeros to that length, after normalisation.

    Args:
        checkpoint: Config, weights and preprocessing.
        modality: The name of sound.
        options: The user's choices.

    Raises:
        EncoderError: If it is no such model, or lacks a file.
        UnsafeWeights: If it has its weights only as pickle.
        UnknownName: If another field than `last_hidden_state` is wanted.
    """

    def __init__(self, checkpoint: Pretrained, *, modality: str, options: EncoderOptions) -> None:
        options.choose(usual=(SOUND_FIELD,), valid=(SOUND_FIELD,), encoder=checkpoint.id)
        width = checkpoint.config.get("hidden_size")
        if not isinstance(width, int):
            raise EncoderError(
                f"encoder {checkpoint.id!r}: its config.json says hidden_size {width!r}"
            )
        self._checkpoint = checkpoint
        self._options = options
        self._kernels, self._strides = _convolutions(checkpoint)
        self._building = Lock()
        self.modality = modality
        self.provenance: Mapping[str, Any] = {"folder": str(checkpoint.folder)}
        self.fields = (FieldSpec(SOUND_FIELD, options.storage_dtype, (width,), ragged=True),)
        self.sample_rate_hz = sampling_rate(checkpoint)
        self.decoding = Decoding(audio_rate_hz=self.sample_rate_hz)
        self.padding = _padding(checkpoint)
        self.shortest_samples = 1  # the receptive field of one vector
        for kernel, stride in zip(self._kernels[::-1], self._strides[::-1], strict=True):
            self.shortest_samples = (self.shortest_samples - 1) * stride + kernel
        self.blank_steps = self.vectors(int(BLANK_SECONDS * self.sample_rate_hz))
        said = checkpoint.processor("feature_extractor")
        kept = {name: v for name, v in said.items() if name not in _PROCESSOR_NOISE}
        self.identity: Mapping[str, Any] = {
            **checkpoint.identity(FAMILY, checkpoint.model_type, kept),
            "sample_rate_hz": self.sample_rate_hz,
            "fields": [SOUND_FIELD],
            "layer": "last",
            "padding": self.padding,
            "shortest_samples": self.shortest_samples,
            "blank": f"{BLANK_SECONDS:g} s of silence",
            **options.dtypes(),
        }

    @property
    def parallel(self) -> int:
        """How many calls of `encode` may run at once."""
        return self.model.parallel

    @cached_property
    def _built(self) -> "BuiltModel":
        return _build(self._checkpoint, self._options, self.shortest_samples)

    @property
    def model(self) -> "BuiltModel":
        """The model, built once."""
        with self._building:
            return self._built

    def load(self) -> None:
        """Build the model, once."""
        _ = self.model

    def prepare(self, medium: Image | Frames | Waveform) -> np.ndarray:
        """Return `[S] float32`, normalised as the model's feature extractor does.

        Raises:
            MediumEmpty: If the sound track holds no sample.
        """
        heard = heard_samples(medium, rate_hz=self.sample_rate_hz, encoder=self._checkpoint.id)
        samples = self.model.transform(heard)
        return np.pad(samples, (0, max(0, self.shortest_samples - len(samples))))

    def blank(self) -> np.ndarray:
        """Return five seconds of silence, prepared."""
        samples = np.zeros(int(BLANK_SECONDS * self.sample_rate_hz), np.float32)
        return self.prepare(Waveform(samples=samples, sample_rate_hz=self.sample_rate_hz))

    def units(self, prepared: np.ndarray) -> int:
        """Return one place for each ten seconds begun, so that long clips fill a batch."""
        return places(len(prepared), rate_hz=self.sample_rate_hz)

    def encode(self, items: Sequence[np.ndarray], *, batch_size: int) -> list[Row]:
        """Return one row `[A, H]` a clip, in the order of the clips."""
        rows: list[Row] = [{} for _ in items]
        seconds = batch_size * _BATCH_SECONDS_EACH
        if self.parallel > 1:
            seconds = min(seconds, _PROCESSOR_BATCH_SECONDS)
        most = int(seconds * self.sample_rate_hz)
        lengths = [len(item) for item in items]
        mixed = self.padding == "masked"
        for group in batches(lengths, batch_size=batch_size, most=most, mixed=mixed):
            for index, values in zip(group, self._forward([items[i] for i in group]), strict=True):
                rows[index] = {SOUND_FIELD: values}
        return rows

    def vectors(self, samples: int) -> int:
        """Return A, the number of vectors for that many samples."""
        for kernel, stride in zip(self._kernels, self._strides, strict=True):
            samples = (samples - kernel) // stride + 1
        return samples

    def _forward(self, clips: list[np.ndarray]) -> list[np.ndarray]:
        lengths = np.array([len(clip) for clip in clips])
        present = np.arange(lengths.max()) < lengths[:, None]
        batch = np.zeros(present.shape, np.float32)
        batch[present] = np.concatenate(clips)
        mask = None if present.all() else present.astype(np.int64)
        states = self.model.forward(batch, (SOUND_FIELD,), mask)[SOUND_FIELD]
        return [row[: self.vectors(int(n))] for row, n in zip(states, lengths, strict=True)]


def _build(checkpoint: Pretrained, options: EncoderOptions, shortest_samples: int) -> "BuiltModel":
    import torch
    from transformers import AutoFeatureExtractor

    from .built_model import BuiltModel, load_model, loading

    with loading(checkpoint.id):
        extractor = AutoFeatureExtractor.from_pretrained(
            checkpoint.folder, local_files_only=True, trust_remote_code=False
        )
        module, _ = load_model(
            checkpoint, options, needless=lambda name: name.endswith(_TRAINING_ONLY)
        )

    def transform(samples: np.ndarray) -> np.ndarray:
        output = extractor(samples, sampling_rate=extractor.sampling_rate)
        return np.asarray(output["input_values"][0], dtype=np.float32)

    def normalise(samples: torch.Tensor) -> torch.Tensor:
        if extractor.do_normalize:
            variance, mean = torch.var_mean(samples, dim=1, correction=0, keepdim=True)
            samples = (samples - mean) / torch.sqrt(variance + _LEAST_VARIANCE)
        lacking = max(0, shortest_samples - samples.shape[1])
        return torch.nn.functional.pad(samples, (0, lacking))

    values = {SOUND_FIELD: lambda output: output.last_hidden_state}
    return BuiltModel(module, options, transform=transform, normalise=normalise, values=values)


def _padding(checkpoint: Pretrained) -> Padding:
    """Return how clips of different lengths share a batch: not at all, or padded and masked."""
    config = checkpoint.config
    per_step = config.get("feat_extract_norm", "group") == "layer"
    plain = not (config.get("add_adapter") or config.get("conv_pos_batch_norm"))
    return "masked" if ARCHITECTURES[checkpoint.model_type] and per_step and plain else "none"


def places(samples: int, *, rate_hz: int) -> int:
    """Return how many places of a batch a clip takes."""
    return math.ceil(samples / (_BATCH_SECONDS_EACH * rate_hz))


def sampling_rate(checkpoint: Pretrained) -> int:
    """Return the sample rate, in Hz, that a model was trained on, as its preprocessing says."""
    rate = checkpoint.processor("feature_extractor").get("sampling_rate")
    if not isinstance(rate, int) or rate <= 0:
        raise EncoderError(
            f"encoder {checkpoint.id!r}: its preprocessor_config.json says "
            f"sampling_rate {rate!r}; a positive whole number is needed"
        )
    return rate


def heard_samples(medium: Image | Frames | Waveform, *, rate_hz: int, encoder: str) -> np.ndarray:
    """Return the samples of a waveform of that rate, `[S] float32`, one at least."""
    if not isinstance(medium, Waveform):
        raise TypeError(f"{type(medium).__name__} is not what an audio encoder listens to")
    if len(medium.samples) == 0:
        raise MediumEmpty("the sound track holds no sample")
    if medium.sample_rate_hz != rate_hz:
        raise EncoderError(
            f"encoder {encoder!r} takes {rate_hz} Hz, the waveform has {medium.sample_rate_hz} Hz"
        )
    return medium.samples


def batches(lengths: Sequence[int], *, batch_size: int, most: int, mixed: bool) -> list[list[int]]:
    """Return groups of indices: the clips of each forward pass, short ones first.

    Args:
        lengths: Samples of each clip.
        batch_size: The most clips in a group.
        most: The most samples in a group, padding included; a clip of more is alone.
        mixed: Whether clips of different lengths may share a group.
    """
    groups: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda i: (lengths[i], i)):
        group = groups[-1] if groups else []
        fits = len(group) < batch_size and (len(group) + 1) * lengths[index] <= most
        if group and fits and (mixed or lengths[group[-1]] == lengths[index]):
            group.append(index)
        else:
            groups.append([index])
    return groups


def _convolutions(checkpoint: Pretrained) -> tuple[list[int], list[int]]:
    kernels = checkpoint.config.get("conv_kernel", [10, 3, 3, 3, 3, 2, 2])
    strides = checkpoint.config.get("conv_stride", [5, 2, 2, 2, 2, 2, 2])
    if len(kernels) != len(strides):
        raise EncoderError(
            f"encoder {checkpoint.id!r}: conv_kernel {kernels} and conv_stride "
            f"{strides} differ in length"
        )
    return list(kernels), list(strides)
