"""What is trained, a few named tensors, each [R, …] float32 with one slice a run, and its layers.

name                                  shape                        in
prompt                                [R, P, H]                    every method; P = 0 without one
prompt_encoder.{weight,bias}          [R, H, H], [R, H]            prompt encoder "linear"
prompt_encoder.{weight,bias}_{ih,hh}  [R, 4H, H], [R, 4H]          prompt encoder "lstm"
projection.{weight,bias}              [R, H, H], [R, H]            linear
projection.{weight,bias}              [R, H, 2H], [R, H]           jointproj
norm.SEGMENT.{weight,bias}            [R, H], [R, H]               trained norms
encoder.MODALITY.WEIGHT               [R, …]                       finetune: all the encoder's own

Where prompts of different lengths are padded to the longest, `prompt.present` [R, P] bool beside
them says which of their vectors are no padding; it is not trained.

Weights are stored as torch's own layers store them, outputs before inputs. What goes through them
is grouped by run: rows r * B to (r + 1) * B of the N = R * B belong to run r.
"""

import math
from collections.abc import Mapping, Sequence

import torch

from ...errors import PlmError
from ..plm.frozen import PLM
from .methods import Fusion, PromptInit

Parameters = Mapping[str, torch.Tensor]

PROMPT_PRESENT = "prompt.present"
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
    width, inputs = hidden_size, fusion.method.layer_inputs * hidden_size
    shapes: dict[str, tuple[int, ...]] = {"prompt": (prompt_length, width)}
    layers: list[tuple[str, int, int]] = {
        "none": [],
        "linear": [("prompt_encoder.{}", width, width)],
        "lstm": [(f"prompt_encoder.{{}}_{part}", 4 * width, width) for part in ("ih", "hh")],
    }[fusion.prompt_encoder]
    layers += [("projection.{}", width, inputs)] if inputs else []
    for name, outputs, read in layers:
        shapes |= {name.format("weight"): (outputs, read), name.format("bias"): (outputs,)}
    if fusion.train_norms:
        for segment in ("prompt", *modalities):
            shapes |= {f"norm.{segment}.weight": (width,), f"norm.{segment}.bias": (width,)}
    if fusion.method.live:
        for modality, weights in (encoders or {}).items():
            shapes |= {f"{_ENCODER}{modality}.{name}": shape for name, shape in weights.items()}
    return shapes


def encoder_weights(parameters: Parameters, modality: str, run: int) -> dict[str, torch.Tensor]:
    """Return one run's slices of an encoder's weights under the encoder's own names."""
    prefix = f"{_ENCODER}{modality}."
    return {
        name.removeprefix(prefix): weight[run]
        for name, weight in parameters.items()
        if name.startswith(prefix)
    }


def encode_prompt(parameters: Parameters) -> dict[str, torch.Tensor]:
    """Return the parameters with the prompt encoded and without its encoder.

    A prompt encoder's output does not depend on the input, so this is all that a run keeps.

    Source: table 6 (a linear layer, or an LSTM, of hidden size H).
    """
    kept = dict(parameters)
    layer = {
        name.removeprefix(_PROMPT_ENCODER): kept.pop(name)
        for name in parameters
        if name.startswith(_PROMPT_ENCODER)
    }
    if layer:
        encode = run_linear if "weight" in layer else _run_lstm
        kept["prompt"] = encode(kept["prompt"], **layer)
    return kept


def run_linear(vectors: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """Return [N, L, O] in the dtype of `vectors` [N, L, I], each row through its run's layer.

    The weight is [R, O, I] float32, the bias [R, O] float32.
    """
    rows, length = vectors.shape[:2]
    grouped = vectors.to(weight.dtype).reshape(weight.shape[0], -1, weight.shape[2])
    projected = torch.baddbmm(bias[:, None], grouped, weight.mT)
    return projected.view(rows, length, -1).to(vectors.dtype)


def run_scale(vectors: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """Return [N, L, H] in the dtype of `vectors`: its run's scale and shift [R, H] on each."""
    grouped = vectors.to(weight.dtype).unflatten(0, (weight.shape[0], -1))
    scaled = grouped * weight[:, None, None] + bias[:, None, None]
    return scaled.flatten(0, 1).to(vectors.dtype)


def _run_lstm(
    vectors: torch.Tensor,
    *,
    weight_ih: torch.Tensor,
    bias_ih: torch.Tensor,
    weight_hh: torch.Tensor,
    bias_hh: torch.Tensor,
) -> torch.Tensor:
    """Return the hidden states [R, P, H] of a one-layer unidirectional LSTM, one a run."""
    from_inputs = torch.baddbmm((bias_ih + bias_hh)[:, None], vectors, weight_ih.mT)
    hidden = cell = torch.zeros_like(vectors[:, :1])
    states: list[torch.Tensor] = []
    for gates in from_inputs.split(1, dim=1):
        gates = torch.baddbmm(gates, hidden, weight_hh.mT)
        enter, keep, candidate, leave = gates.chunk(4, dim=-1)
        cell = keep.sigmoid() * cell + enter.sigmoid() * candidate.tanh()
        hidden = leave.sigmoid() * cell.tanh()
        states.append(hidden)
    return torch.cat(states, dim=1)


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
    """
    shapes = parameter_shapes(
        fusion, hidden_size=plm.hidden_size, prompt_length=prompt_length, modalities=modalities
    )
    if fusion.train_norms and plm.norm is None:
        raise PlmError(
            f"{plm.family} puts no layer norm on its embedded segments, so there is none to train; "
            "leave out --train-norms"
        )

    def drawn(name: str, generator: torch.Generator) -> torch.Tensor:
        shape = shapes[name]
        if name == "prompt":
            if prompt_init == "tokens":
                ids = torch.randint(plm.tokens.num_embeddings, shape[:1], generator=generator)
                return plm.embed_tokens(ids.to(plm.device)).float().cpu()
            return torch.randn(shape, generator=generator) * plm.token_vectors().float().cpu().std()
        if name.startswith("norm.") and plm.norm is not None:
            return plm.norm[name.endswith("bias")].float().cpu()
        inputs = shapes[name.replace("bias", "weight")][1]
        bound = 1 / math.sqrt(inputs)  # torch.nn.Linear's default; an LSTM's inputs are H too
        return torch.empty(shape).uniform_(-bound, bound, generator=generator)

    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    pretrained = {
        f"{_ENCODER}{modality}.{name}": torch.stack([weight] * len(seeds))
        for modality, weights in (encoders or {}).items()
        for name, weight in weights.items()
    }
    starts = {name: torch.stack([drawn(name, one) for one in generators]) for name in shapes}
    return starts | pretrained
