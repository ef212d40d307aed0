"""One equation from vectors to the segments of the fused sequence: an order of stages.

Training, answering, fine-tuning and attribution all embed by `embed` and fuse by `fuse_segments`.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch

from ..cache.modalities import MODALITIES
from .fusion.methods import Fusion, Stage
from .fusion.parameters import PROMPT_PRESENT, Parameters, encode_prompt, run_linear, run_scale
from .fusion.sequence import encode_fused, may_lend
from .fusion.visibility import VISIBILITIES
from .plm.frozen import PLM, Encoded, Segment, TokenBatch
from .plm.prefix import Prefix

_FROZEN: Parameters = {}


def embed(
    plm: PLM,
    steps: Segment,
    stages: Sequence[Stage],
    parameters: Parameters = _FROZEN,
    name: str = "text",
) -> Segment:
    """Return a segment [N, L or 1, H], rows grouped by run, after some stages of its embedding.

    A trained norm is found in the parameters, each [R, …], by the segment's name.
    """
    for stage in stages:
        match stage:
            case "project":
                steps = replace(steps, vectors=_layer(steps.vectors, parameters))
            case "place":
                steps = replace(steps, vectors=plm.place(steps.vectors))
            case "mean":
                steps = Segment.whole(mean_over_steps(steps)[:, None])
            case "scale":
                steps = replace(steps, vectors=_scaled(plm, steps.vectors, parameters, name))
    return steps


def _scaled(plm: PLM, vectors: torch.Tensor, parameters: Parameters, name: str) -> torch.Tensor:
    """Return [N, L, H] with the scale and shift of a segment's trained norm, or of the model's."""
    weight = f"norm.{name}.weight"
    if weight in parameters:
        return run_scale(vectors, parameters[weight], parameters[f"norm.{name}.bias"])
    return vectors if plm.norm is None else run_scale(vectors, *(part[None] for part in plm.norm))


def _layer(vectors: torch.Tensor, parameters: Parameters) -> torch.Tensor:
    return run_linear(vectors, parameters["projection.weight"], parameters["projection.bias"])


def mean_over_steps(segment: Segment) -> torch.Tensor:
    """Return the mean of each row's vectors that are present, [N, H]."""
    weights = segment.present[..., None].to(segment.vectors.dtype)
    return (segment.vectors * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)


def stages_of(fusion: Fusion, modality: str) -> tuple[Sequence[Stage], Sequence[Stage]]:
    """Return the stages of a medium before the first one that is trained, and those from there."""
    stages = fusion.stages(temporal=MODALITIES[modality].temporal)
    trained = (at for at, stage in enumerate(stages) if stage in fusion.trained_stages)
    cut = next(trained, len(stages))
    return stages[:cut], stages[cut:]


def embed_medium(
    plm: PLM, fusion: Fusion, steps: Segment, parameters: Parameters, modality: str
) -> Segment:
    """Return a modality's segment [N, L or 1, H] from its raw vectors [N, L, H]."""
    frozen, trained = stages_of(fusion, modality)
    return embed(plm, steps, (*frozen, *trained), parameters, modality)


def text_segment(plm: PLM, texts: TokenBatch, tokens: torch.Tensor | None = None) -> Segment:
    """Return the segment of padded texts [N, T], with vectors [N, T, H] in place of its tokens'."""
    vectors = plm.embed_tokens(texts.ids) if tokens is None else tokens
    return embed(plm, Segment(vectors, texts.present, texts.answer_at), ("place", "scale"))


def input_segments(
    fusion: Fusion, media: Sequence[Segment], text: Segment, parameters: Parameters
) -> list[Segment]:
    """Return the inputs of the fused sequence, left to right: the media, then the text.

    Where a method joins them, each token w_i of the text becomes [w_i ; v] through the trained
    layer, v the media's mean; token and medium have had their positions and norms, and nothing is
    added or normed afterwards.

    Source: section 3.1; section 4.3, JointProj, in the released code's order.
    """
    if not fusion.method.joins:
        return [*media, text]
    medium = torch.stack([segment.vectors for segment in media]).mean(dim=0)  # [N, 1, H]
    both = torch.cat([text.vectors, medium.expand_as(text.vectors)], dim=2)
    return [replace(text, vectors=_layer(both, parameters))]


def fuse_segments(
    plm: PLM,
    fusion: Fusion,
    parameters: Parameters,
    inputs: Sequence[Segment],
    prefix: Prefix | None = None,
) -> Encoded:
    """Return what the language model makes of the prompt, as it is or lent, and the inputs."""
    prompt = prefix or _prompt(plm, parameters)
    return encode_fused(
        plm,
        prompt,
        inputs,
        VISIBILITIES[fusion.visibility],
        position=fusion.prompt_position,
        present=parameters.get(PROMPT_PRESENT),
    )


def lent_prompt(plm: PLM, fusion: Fusion, parameters: Parameters) -> Prefix | None:
    """Return a prompt that depends on no input, run for all batches; None of any other."""
    prompt = _prompt(plm, parameters)
    lendable = may_lend(VISIBILITIES[fusion.visibility], fusion.prompt_position)
    return plm.lend(prompt) if prompt is not None and lendable else None


def _prompt(plm: PLM, parameters: Parameters) -> torch.Tensor | None:
    """Return the embedded prompts [R, P, H]; None of a method without one."""
    prompts = encode_prompt(parameters)["prompt"]
    if not prompts.shape[1]:
        return None
    whole = Segment.whole(prompts.to(plm.dtype))
    return embed(plm, whole, ("place", "scale"), parameters, "prompt").vectors
