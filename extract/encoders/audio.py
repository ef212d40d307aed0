"""Audio encoders of the wav2vec2 kind, about 50 vectors a second; and sound at their rate alone."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ...cache.manifest import FieldSpec
from ...cache.modalities import MODALITIES
from ...errors import EncoderError, MediumEmpty
from ...pretrained import Pretrained
from ..media import Frames, Image, Waveform
from ..room import Room, physical_memory_bytes
from .base import BLANK_SECONDS, Decoding, EncoderOptions, Model, Preprocessing, Row, once

if TYPE_CHECKING:
    from .built_model import BuiltModel

FAMILY, SAMPLES = "transformers-audio", "samples"

#: The one field: a vector each 20 ms.
SOUND_FIELD = "last_hidden_state"

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

# At their peak the convolutions of wav2vec2-base hold 16 MB of a second of sound, 10 GB of ten
# minutes: without a GPU, batches run side by side while that fits into half of the memory.
_ACTIVATION_BYTES = 1024  # a sample
_ROOM = Room(physical_memory_bytes() // 2)

_PROCESSOR_NOISE = frozenset({"auto_map", "processor_class", "return_attention_mask"})

Padding = Literal["none", "masked"]

_LEAST_VARIANCE = 1e-7  # added by the feature extractors of transformers


class AudioEncoder:
    """Waveforms → ragged rows, `[A, H]` vectors or `[S]` samples.

    Padding never changes a feature. Where the first convolution's group norm runs over the whole
    clip, zeros behind it would change its statistics: only clips of one length share a batch.
    Where every norm is per step, clips are padded and masked. A clip shorter than the receptive
    field of one vector is extended with zeros to that length, after normalisation.

    `build` takes that receptive field, in samples, and loads weights and preprocessing; `identity`
    is what decides the values, sample rate, field and blank apart; `convolutions` are the kernel
    and stride of each, from samples to vectors. Clips of different lengths do not share a batch, or
    with `padding` they are masked.
    """

    def __init__(
        self,
        build: Callable[[int], Model],
        checkpoint: Pretrained,
        *,
        modality: str,
        field: FieldSpec,
        identity: Mapping[str, Any],
        provenance: Mapping[str, Any],
        convolutions: Sequence[tuple[int, int]] = (),
        padding: Padding = "none",
    ) -> None:
        self.shortest_samples = 1
        for kernel, stride in reversed(convolutions):
            self.shortest_samples = (self.shortest_samples - 1) * stride + kernel
        self._convolutions = convolutions
        self._id = checkpoint.id
        self._field = field.name
        self.load = once(lambda: build(self.shortest_samples))
        self.modality = modality
        self.provenance = provenance
        self.fields = (field,)
        self.sample_rate_hz = _sampling_rate(checkpoint)
        self.decoding = Decoding(audio_rate_hz=self.sample_rate_hz)
        self.padding = padding
        self.blank_steps = self.vectors(int(BLANK_SECONDS * self.sample_rate_hz))
        batching = {"padding": padding, "shortest_samples": self.shortest_samples}
        self.identity: Mapping[str, Any] = {
            **identity,
            "sample_rate_hz": self.sample_rate_hz,
            "fields": [field.name],
            "blank": f"{BLANK_SECONDS:g} s of silence",
            **(batching if convolutions else {}),
        }

    @property
    def parallel(self) -> int:
        """How many calls of `encode` may run at once."""
        return self.load().parallel

    def prepare(self, medium: Image | Frames | Waveform) -> np.ndarray:
        """Return `[S]` as the model takes it; what holds no sample is a `MediumEmpty`."""
        if not isinstance(medium, Waveform):
            raise TypeError(f"{type(medium).__name__} is not what an audio encoder listens to")
        if len(medium.samples) == 0:
            raise MediumEmpty("the sound track holds no sample")
        if medium.sample_rate_hz != self.sample_rate_hz:
            raise EncoderError(
                f"encoder {self._id!r} takes {self.sample_rate_hz} Hz, the waveform has "
                f"{medium.sample_rate_hz} Hz"
            )
        samples = self.load().transform(medium.samples)
        return np.pad(samples, (0, max(0, self.shortest_samples - len(samples))))

    def blank(self) -> np.ndarray:
        """Return five seconds of silence, prepared."""
        samples = np.zeros(int(BLANK_SECONDS * self.sample_rate_hz), np.float32)
        return self.prepare(Waveform(samples=samples, sample_rate_hz=self.sample_rate_hz))

    def units(self, prepared: np.ndarray) -> int:
        """Return one place for each ten seconds begun, so that long clips fill a batch."""
        return math.ceil(len(prepared) / (_BATCH_SECONDS_EACH * self.sample_rate_hz))

    def encode(self, items: Sequence[np.ndarray], *, batch_size: int) -> list[Row]:
        """Return one row a clip, in the order of the clips."""
        rows: list[Row] = [{} for _ in items]
        seconds = batch_size * _BATCH_SECONDS_EACH
        if self.parallel > 1:
            seconds = min(seconds, _PROCESSOR_BATCH_SECONDS)
        most = int(seconds * self.sample_rate_hz)
        lengths = [len(item) for item in items]
        mixed = self.padding == "masked"
        for group in batches(lengths, batch_size=batch_size, most=most, mixed=mixed):
            for index, values in zip(group, self._forward([items[i] for i in group]), strict=True):
                rows[index] = {self._field: values}
        return rows

    def vectors(self, samples: int) -> int:
        """Return A, the number of vectors for that many samples."""
        for kernel, stride in self._convolutions:
            samples = (samples - kernel) // stride + 1
        return samples

    def _forward(self, clips: list[np.ndarray]) -> list[np.ndarray]:
        lengths = np.array([len(clip) for clip in clips])
        present = np.arange(lengths.max()) < lengths[:, None]
        batch = np.zeros(present.shape, clips[0].dtype)
        batch[present] = np.concatenate(clips)
        mask = None if present.all() else present.astype(np.int64)
        with _ROOM.hold() as reserve:
            reserve(batch.size * _ACTIVATION_BYTES)
            states = self.load().forward(batch, (self._field,), mask)[self._field]
        return [row[: self.vectors(int(n))] for row, n in zip(states, lengths, strict=True)]


def load(checkpoint: Pretrained, *, modality: str, options: EncoderOptions) -> AudioEncoder:
    """Return the encoder of `last_hidden_state`; its weights are not loaded yet."""
    config = checkpoint.config
    (name,) = options.choose(usual=(SOUND_FIELD,), valid=(SOUND_FIELD,), encoder=checkpoint.id)
    width = config.get("hidden_size")
    if not isinstance(width, int):
        raise EncoderError(f"encoder {checkpoint.id!r}: its config.json says hidden_size {width!r}")
    kernels = config.get("conv_kernel", [10, 3, 3, 3, 3, 2, 2])
    strides = config.get("conv_stride", [5, 2, 2, 2, 2, 2, 2])
    if len(kernels) != len(strides):
        raise EncoderError(
            f"encoder {checkpoint.id!r}: conv_kernel {kernels} and conv_stride "
            f"{strides} differ in length"
        )
    per_step = config.get("feat_extract_norm", "group") == "layer"
    plain = not (config.get("add_adapter") or config.get("conv_pos_batch_norm"))
    masked = ARCHITECTURES[checkpoint.model_type] and per_step and plain
    said = checkpoint.processor("feature_extractor")
    kept = {name: v for name, v in said.items() if name not in _PROCESSOR_NOISE}
    return AudioEncoder(
        partial(_build, checkpoint, options),
        checkpoint,
        modality=modality,
        field=FieldSpec(name, options.storage_dtype, (width,), ragged=True),
        identity=checkpoint.identity(FAMILY, checkpoint.model_type, kept) | options.identity(),
        provenance={"folder": str(checkpoint.folder)},
        convolutions=list(zip(kernels, strides, strict=True)),
        padding="masked" if masked else "none",
    )


def load_samples(checkpoint: Pretrained, *, modality: str, options: EncoderOptions) -> AudioEncoder:
    """Return the encoder that gives `[S] int16` at another's rate, clipped at full scale."""
    encoder, full_scale = f"{SAMPLES}:{checkpoint.id}", MODALITIES[modality].full_scale
    (name,) = options.choose(usual=(SAMPLES,), valid=(SAMPLES,), encoder=encoder)

    def transform(samples: np.ndarray) -> np.ndarray:
        scaled = np.rint(samples * np.float32(full_scale))
        return np.clip(scaled, -full_scale, full_scale - 1).astype(np.int16)

    return AudioEncoder(
        lambda _: Preprocessing(transform),
        checkpoint,
        modality=modality,
        field=FieldSpec(name, "int16", (), ragged=True),
        identity={"family": SAMPLES, "id": checkpoint.id, "full_scale": full_scale},
        provenance={"revision": checkpoint.revision} if checkpoint.revision else {},
    )


def _build(checkpoint: Pretrained, options: EncoderOptions, shortest_samples: int) -> "BuiltModel":
    import torch
    from transformers import AutoFeatureExtractor

    from .built_model import BuiltModel, load_model, loading

    with loading(checkpoint.id):
        extractor = AutoFeatureExtractor.from_pretrained(
            checkpoint.folder, local_files_only=True, trust_remote_code=False
        )
        module, _ = load_model(checkpoint, options)

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


def _sampling_rate(checkpoint: Pretrained) -> int:
    """Return the sample rate, in Hz, that a model was trained on, as its preprocessing says."""
    rate = checkpoint.processor("feature_extractor").get("sampling_rate")
    if not isinstance(rate, int) or rate <= 0:
        raise EncoderError(
            f"encoder {checkpoint.id!r}: its preprocessor_config.json says "
            f"sampling_rate {rate!r}; a positive whole number is needed"
        )
    return rate


def batches(lengths: Sequence[int], *, batch_size: int, most: int, mixed: bool) -> list[list[int]]:
    """Return groups of indices: the clips of each forward pass, short ones first.

    A group has `batch_size` clips at most and, padding included, `most` samples; a clip of more is
    alone. Only where they are `mixed` do clips of different lengths share a group.
    """
    groups: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lengths.__getitem__):
        group = groups[-1] if groups else []
        fits = len(group) < batch_size and (len(group) + 1) * lengths[index] <= most
        if group and fits and (mixed or lengths[group[-1]] == lengths[index]):
            group.append(index)
        else:
            groups.append([index])
    return groups
