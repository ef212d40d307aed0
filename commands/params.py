"""`pfcli params`: what each method would train, from the models' shapes alone."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..cache.modalities import MODALITIES
from ..errors import PretrainedError, UnknownName
from ..pretrained import CONFIG_NAME, resolve
from ..tables import Table
from ..train.fusion.methods import METHODS, Fusion
from ..train.fusion.parameters import parameter_shapes
from ..train.settings import ParamsSettings

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

SHAPES: dict[str, dict[str, Any]] = {
    "bart-base": {"model_type": "bart", "d_model": 768},
    "bart-large": {"model_type": "bart", "d_model": 1024},
    "t5-base": {"model_type": "t5", "d_model": 768},
    "bert-base": {"model_type": "bert", "hidden_size": 768},
    "vit-base": {"model_type": "vit"},  # transformers' defaults are the base sizes
    "wav2vec2-base": {"model_type": "wav2vec2"},
}
"""Enough of a known model's `config.json` to tell its width, and an encoder's parameters."""

_MODALITIES = {
    " + ".join([*names, "text"]): names
    for temporal in (False, True)
    if (names := tuple(n for n, modality in MODALITIES.items() if modality.temporal == temporal))
}


def run_params(settings: ParamsSettings) -> dict[str, list[int]]:
    """Print table 1 and return each method's trainable parameters, one a set of modalities.

    Models are names in `SHAPES`, folders or hub ids; only `config.json` is read.
    """
    plm, prompt_length = settings.plm, settings.prompt_length
    width = getattr(_config(plm, settings.plm_revision), "hidden_size", None)
    if not isinstance(width, int):
        raise PretrainedError(f"model {plm!r}: {CONFIG_NAME} has no hidden_size or d_model")
    seen = _encoder_shapes(settings.encoder, settings.encoder_revision)
    heard = _encoder_shapes(settings.audio_encoder, settings.audio_encoder_revision)
    counts: dict[str, list[int]] = {}
    for name, method in METHODS.items():
        shapes = (
            parameter_shapes(
                Fusion.of(name),
                hidden_size=width,
                prompt_length=prompt_length if method.prompt else 0,
                modalities=names,
                encoders={each: seen if MODALITIES[each].pictures else heard for each in names},
            )
            for names in _MODALITIES.values()
        )
        counts[name] = [sum(map(math.prod, parameters.values())) for parameters in shapes]
    rows = [[name, *(f"{number:>15,}" for number in numbers)] for name, numbers in counts.items()]
    title = (
        f"trainable parameters: {plm} (width {width}), {settings.encoder}, "
        f"{settings.audio_encoder}, prompt length {prompt_length}"
    )
    print(Table(title, ["", *_MODALITIES], rows).text())
    return counts


def _encoder_shapes(name: str, revision: str | None) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the encoder's weights; none is allocated."""
    import torch
    from transformers import AutoModel

    config = _config(name, revision)
    config = getattr(config, "vision_config", config)  # the image tower of a CLIP
    try:
        with torch.device("meta"):
            model = AutoModel.from_config(config)
    except ValueError as error:
        raise PretrainedError(f"model {name!r} cannot be built: {error}") from error
    return {name: tuple(weight.shape) for name, weight in model.named_parameters()}


def _config(name: str, revision: str | None) -> PreTrainedConfig:
    from transformers import AutoConfig

    if name in SHAPES:
        return AutoConfig.for_model(**SHAPES[name])
    if "/" not in name and not Path(name).is_dir():
        raise UnknownName("model", name, [*SHAPES, "a folder", "a hub id OWNER/NAME"])
    values = dict(resolve(name, revision=revision, patterns=(CONFIG_NAME,)).config)
    values.pop("auto_map", None)  # remote code is never run
    try:
        return AutoConfig.for_model(**values)
    except (ValueError, TypeError) as error:
        raise PretrainedError(f"model {name!r}: {CONFIG_NAME} cannot be used: {error}") from error
