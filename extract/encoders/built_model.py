"""A built encoder of whichever family in torch, also to run live; a library's errors as ours."""

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from transformers import CONFIG_MAPPING, AutoConfig, AutoModel
from transformers.utils import logging

from ...errors import EncoderError, PromptFuseError, UnsafeWeights
from ...frozen_linear import speed_up_linear
from ...memory import with_less
from ...pretrained import Pretrained, device_named, dtype_named
from ...threads import usable_processors
from .base import Encoder, EncoderOptions, Row

Weights = Mapping[str, torch.Tensor]
"""A model's weights by name."""

_LONGEST_MESSAGE = 600
_MOST_PLACES = sys.maxsize
_SMALLER = "a smaller --batch-size, or --compute-dtype bfloat16 or float16, takes less"
_PROBE, _ROUNDING = (96, 120, 3), 1e-5  # a picture to look at preprocessing with, and its floats

# What a checkpoint may lack: a pooler that is not kept, and what is used in training only.
_NEEDLESS = re.compile(r"(pooler|head)\.|.*masked_spec_embed$")


class BuiltModel:
    """A frozen model in eval mode, on its device and in its compute dtype, with preprocessing.

    Args:
        module: In the compute dtype; it takes what `normalise` gives.
        options: Dtypes and device.
        transform: The preprocessing of one medium: `[H, W, 3] uint8` → `[C, H, W]`, as uint8 if
            `normalise` is to follow, else as float32 as the module takes it; or samples
            `[S] float32` → `[S] float32`.
        normalise: The differentiable end of it: `[B, C, H, W] float32` from 0 to 255, resized and
            cropped, or samples `[B, S] float32` from -1 to 1 → the module's input.
        values: By field, from the module's output to `[B, …]`.
        missing: Weights that the files lack, and the module can do without.
    """

    def __init__(
        self,
        module: torch.nn.Module,
        options: EncoderOptions,
        *,
        transform: Callable[[np.ndarray], np.ndarray],
        normalise: Callable[[torch.Tensor], torch.Tensor],
        values: Mapping[str, Callable[[Any], torch.Tensor]],
        missing: frozenset[str] = frozenset(),
    ) -> None:
        self.device = device_named(options.device)
        self._most = _MOST_PLACES
        self.parallel = usable_processors() if self.device.type == "cpu" else 1
        self.transform = transform
        self.missing = missing
        self._compute = dtype_named(options.compute_dtype)
        self._storage = dtype_named(options.storage_dtype)
        speed_up_linear(module)
        frozen: Any = module.eval().requires_grad_(False)
        self._module = frozen.to(self.device, memory_format=torch.channels_last)  # of convolutions
        self.normalise = normalise
        self.values = values

    @torch.inference_mode()
    def forward(
        self, batch: np.ndarray, fields: tuple[str, ...], mask: np.ndarray | None = None
    ) -> Row:
        """Return `[B, …]` in the storage dtype for each field, as `Model.forward`.

        Where memory runs out the batch is halved, and later ones are no larger.
        """

        def attempt(size: int) -> Row:
            parts = [slice(start, start + size) for start in range(0, len(batch), size)]
            rows = [self._row(batch[p], fields, None if mask is None else mask[p]) for p in parts]
            return {name: np.concatenate([row[name] for row in rows]) for name in fields}

        places = min(len(batch), self._most)
        rows, fitting = with_less(attempt, places, what="media a pass", lower=_SMALLER)
        if fitting < places:
            self._most = fitting
        return rows

    def _row(self, batch: np.ndarray, fields: tuple[str, ...], mask: np.ndarray | None) -> Row:
        present = None if mask is None else torch.from_numpy(mask)
        output = self.outputs(self.inputs(batch), mask=present)
        return {name: self.values[name](output).to(self._storage).cpu().numpy() for name in fields}

    def inputs(self, batch: np.ndarray) -> torch.Tensor:
        """Return what `transform` gave, `[B, …]`, as the module takes it, on its device."""
        given = torch.from_numpy(batch).to(self.device)
        return self.normalise(given.float()) if given.dtype == torch.uint8 else given

    def outputs(
        self, batch: torch.Tensor, weights: Weights | None = None, mask: torch.Tensor | None = None
    ) -> Any:
        """Return the module's own output for `[B, …]`, normalised, differentiable."""
        with _exact_float32(self.device, self._compute):
            inputs = (batch.to(self.device, self._compute),)
            given = {} if mask is None else {"attention_mask": mask.to(self.device)}
            return torch.func.functional_call(self._module, dict(weights or {}), inputs, given)

    def weights(self) -> dict[str, torch.Tensor]:
        """Return the pretrained weights by name, detached; the module's own tensors."""
        return {name: weight.detach() for name, weight in self._module.named_parameters()}


class LiveEncoder:
    """An encoder from decoded media to vectors, differentiable in them and in its weights.

    One instance belongs to one thread: its weights are put in place for the length of a call. Its
    vectors, of size `width`, are the one `field` of `encoder`; `name` is for messages.
    """

    def __init__(self, encoder: Encoder, *, name: str) -> None:
        model = encoder.load()
        if not isinstance(model, BuiltModel):
            raise EncoderError(
                f"encoder {name!r} gives decoded media; only what follows it runs live"
            )
        (field,) = encoder.fields
        self.id = str(encoder.identity["id"])
        self.field = field.name
        self.width = field.shape[-1]
        self.weights = model.weights
        self._model = model

    def __call__(self, decoded: torch.Tensor, weights: Weights | None = None) -> torch.Tensor:
        """Return the vectors of decoded media of one shape; rows do not affect each other.

        Args:
            decoded: `[N, C, H, W]` pixel values from 0 to 255 of images (or single frames) that
                were resized and cropped, or `[N, S]` samples from -1 to 1 at the encoder's rate;
                floating, so that gradients can reach them.
            weights: In place of the pretrained ones, some or all of them.

        Returns:
            `[N, width]` for one vector an image, else `[N, L, width]`.
        """
        model = self._model
        inputs = model.normalise(decoded.to(model.device, torch.float32))
        return model.values[self.field](model.outputs(inputs, weights))


@contextmanager
def loading(name: str) -> Iterator[None]:
    """Turn what libraries raise for an unusable checkpoint into an `EncoderError`, in silence."""
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()  # what matters in load reports is checked instead
    logging.disable_progress_bar()
    try:
        yield
    except PromptFuseError:
        raise
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        text = " ".join(str(error).split())[:_LONGEST_MESSAGE] or type(error).__name__
        raise EncoderError(f"encoder {name!r} cannot be loaded: {text}") from error
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def _exact_float32(device: torch.device, dtype: torch.dtype) -> AbstractContextManager[None]:
    """Keep convolutions in float32 where float32 was asked for; by default GPUs use TF32."""
    if device.type != "cuda" or dtype != torch.float32:
        return nullcontext()
    cudnn = torch.backends.cudnn
    kept, same = cudnn.benchmark, cudnn.deterministic
    return cudnn.flags(enabled=True, benchmark=kept, deterministic=same, allow_tf32=False)


def splits(
    whole: Callable[[np.ndarray], np.ndarray],
    cropped: Callable[[np.ndarray], np.ndarray],
    normalise: Callable[[torch.Tensor], torch.Tensor],
) -> bool:
    """Return whether `cropped` gives the uint8 pixels that `normalise` makes the `whole` of."""
    noise = np.random.default_rng(0).integers(0, 256, _PROBE, dtype=np.uint8)
    pixels = cropped(noise)
    if pixels.dtype != np.uint8:
        return False
    found, expected = normalise(torch.from_numpy(pixels)[None].float())[0], whole(noise)
    return found.shape == expected.shape and np.allclose(found, expected, rtol=0, atol=_ROUNDING)


def load_model(
    checkpoint: Pretrained, options: EncoderOptions
) -> tuple[torch.nn.Module, frozenset[str]]:
    """Return a model of transformers, or its image tower, and the weights that its files lack."""
    own = checkpoint.config
    if own.get("model_type") not in CONFIG_MAPPING and own.get("auto_map"):
        raise UnsafeWeights(
            f"encoder {checkpoint.id!r} needs code from its own folder ({own['auto_map']}), which "
            "is never run; use an encoder that transformers knows"
        )
    local: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    config = AutoConfig.from_pretrained(checkpoint.folder, **local)
    model, report = AutoModel.from_pretrained(
        checkpoint.folder,
        config=getattr(config, "vision_config", None) or config,
        dtype=dtype_named(options.compute_dtype),
        use_safetensors=True,
        output_loading_info=True,
        **local,
    )
    missing = frozenset(report["missing_keys"])
    check_complete(checkpoint.id, sorted(name for name in missing if not _NEEDLESS.match(name)))
    return model, missing


def check_complete(name: str, lost: list[str]) -> None:
    """Raise an `EncoderError` if a checkpoint lacks tensors."""
    if lost:
        raise EncoderError(
            f"encoder {name!r}: the checkpoint lacks {len(lost)} of the model's tensors, such as "
            f"{lost[0]!r}; they would be random"
        )
