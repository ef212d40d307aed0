"""What is trained: a few named tensors, each [R, …] float32 with one slice a run.

name                                  shape                        in
prompt                                [R, P, H]                    every method; P = 0 without one
prompt_encoder.{weight,bias}          [R, H, H], [R, H]            prompt encoder "linear"
prompt_encoder.{weight,bias}_{ih,hh}  [R, 4H, H], [R, 4H]          prompt encoder "lstm"
projection.{weight,bias}              [R, H, H], [R, H]            linear
projection.{weight,bias}              [R, H, 2H], [R, H]           jointproj
norm.SEGMENT.{weight,bias}            [R, H], [R, H]               trained norms
encoder.MODALITY.WEIGHT               [R, …]                       finetune: all the encoder's own

Weights are stored as torch's own layers store them, outputs before inputs.
"""

import math
from collections.abc import Mapping, Sequence

import torch

from ...errors import PlmError
from ..plm.frozen import PLM
from .layers import run_linear, run_lstm
from .methods import Fusion, PromptInit

Parameters = Mapping[str, torch.Tensor]

_ENCODER, _PROMPT_ENCODER = "encoder.", "prompt_encoder."


def parameter_shapes(
    fusion: Fusion,
    *,
    hidden_size: int,
    prompt_length: int,
    modalities: Sequence[str],
    encoders: Mapping[str, Mapping[str, tuple[int, ...]]] | None = None,
) -> dict[str, tuple[int, ...]]:
    """Return the shape of one run's slice of each parameter, in the order in which they are drawn.

    `encoders` are the shapes of each encoder's weights, for a method that trains them.

    Source: table 1 (counts), table 6 (prompt encoders).
    """
    width = hidden_size
    shapes: dict[str, tuple[int, ...]] = {"prompt": (prompt_length, width)}
    if fusion.prompt_encoder == "linear":
        shapes |= _layer("prompt_encoder", inputs=width, outputs=width)
    if fusion.prompt_encoder == "lstm":
        shapes |= _layer("prompt_encoder", inputs=width, outputs=4 * width, suffix="_ih")
        shapes |= _layer("prompt_encoder", inputs=width, outputs=4 * width, suffix="_hh")
    if fusion.method.layer_inputs:
        shapes |= _layer("projection", inputs=fusion.method.layer_inputs * width, outputs=width)
    if fusion.train_norms:
        for segment in ("prompt", *modalities):
            shapes |= {f"norm.{segment}.weight": (width,), f"norm.{segment}.bias": (width,)}
    if fusion.method.live:
        for modality, weights in (encoders or {}).items():
            shapes |= {f"{_ENCODER}{modality}.{name}": shape for name, shape in weights.items()}
    return shapes


def encoder_weights(parameters: Parameters, modality: str, run: int) -> dict[str, torch.Tensor]:
    """Return one run's slices of an encoder's weights under the encoder's own names."""
    weights = _within(parameters, f"{_ENCODER}{modality}.")
    return {name: weight[run] for name, weight in weights.items()}


def _within(parameters: Parameters, prefix: str) -> dict[str, torch.Tensor]:
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in parameters.items()
        if name.startswith(prefix)
    }


def encode_prompt(parameters: Parameters) -> dict[str, torch.Tensor]:
    """Return the parameters with the prompt encoded and without its encoder.

    A prompt encoder's output does not depend on the input, so this is all that a run keeps.

    Source: table 6 (a linear layer, or an LSTM, of hidden size H).
    """
    layer = _within(parameters, _PROMPT_ENCODER)
    kept = {
        name: weight for name, weight in parameters.items() if not name.startswith(_PROMPT_ENCODER)
    }
    if "weight" in layer:
        kept["prompt"] = run_linear(kept["prompt"], layer["weight"], layer["bias"])
    elif layer:
        kept["prompt"] = run_lstm(kept["prompt"], **layer)
    return kept


def _layer(name: str, *, inputs: int, outputs: int, suffix: str = "") -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight{suffix}": (outputs, inputs), f"{name}.bias{suffix}": (outputs,)}


def initial_parameters(
    fusion: Fusion,
    plm: PLM,
    seeds: Sequence[int],
    *,
    prompt_length: int,
    modalities: Sequence[str],
    prompt_init: PromptInit,
    encoders: Mapping[str, Parameters] | None = None,
) -> dict[str, torch.Tensor]:
    """Return the parameters that training starts from, each [R, …] float32, one run a seed.

    A run's slices depend on its own seed alone, not on the runs beside it. Layers start as torch's
    own do, norms as the language model's, encoders as they were pretrained.

    A prompt of "tokens" is rows of the token embeddings (the released code), a "random" one is of
    a normal distribution with their standard deviation (section 3.2). `encoders` are the pretrained
    weights of those that run live, by modality.

    Raises:
        PlmError: If a norm is to be trained and the language model's segments have none.
    """
    shapes = parameter_shapes(
        fusion, hidden_size=plm.hidden_size, prompt_length=prompt_length, modalities=modalities
    )
    tokens = plm.token_vectors().float().cpu()
    norm = _segment_norm(plm) if fusion.train_norms else {}
    runs = [_initial_run(shapes, seed, tokens, norm, prompt_init) for seed in seeds]
    drawn = {name: torch.stack([run[name] for run in runs]) for name in shapes}
    return drawn | {
        f"{_ENCODER}{modality}.{name}": torch.stack([weight] * len(seeds))
        for modality, weights in (encoders or {}).items()
        for name, weight in weights.items()
    }


def _initial_run(
    shapes: Mapping[str, tuple[int, ...]],
    seed: int,
    tokens: torch.Tensor,
    norm: Parameters,
    prompt_init: PromptInit,
) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    drawn: dict[str, torch.Tensor] = {}
    for name, shape in shapes.items():
        if name == "prompt":
            drawn[name] = _initial_prompt(generator, shape, tokens, prompt_init)
        elif name.startswith("norm."):
            drawn[name] = norm[name.rsplit(".", 1)[1]]
        else:
            inputs = shapes[name.replace("bias", "weight")][1]
            bound = 1 / math.sqrt(inputs)  # torch.nn.Linear's default; an LSTM's inputs are H too
            drawn[name] = torch.empty(shape).uniform_(-bound, bound, generator=generator)
    return drawn


def _initial_prompt(
    generator: torch.Generator, shape: tuple[int, ...], tokens: torch.Tensor, init: PromptInit
) -> torch.Tensor:
    if init == "tokens":
        return tokens[torch.randint(len(tokens), shape[:1], generator=generator)]
    return torch.randn(shape, generator=generator) * tokens.std()


def _segment_norm(plm: PLM) -> dict[str, torch.Tensor]:
    if plm.norm is None:
        raise PlmError(
            f"{plm.family} puts no layer norm on its embedded segments, so there is none to train; "
            "leave out --train-norms"
        )
    weight, bias = plm.norm
    return {"weight": weight.float().cpu().clone(), "bias": bias.float().cpu().clone()}


def count(parameters: Parameters) -> int:
    """Return how many numbers one run trains."""
    return sum(math.prod(tensor.shape[1:]) for tensor in parameters.values())
