"""T5 and the paper's fusion written out in plain PyTorch from the equations.

Nothing here calls the library or transformers' modelling code: only weights are taken from the
model. Source: section 3 of the paper; https://arxiv.org/abs/1910.10683 for T5, section 2.1.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import relu, softmax

from .paper_equations import Weights

LAYERS, HEADS, BUCKETS, FARTHEST = 2, 4, 8, 20


def norm(weights: Weights, name: str, vectors: Tensor) -> Tensor:
    """The root mean square norm: no mean is taken off, no bias added."""
    return weights[f"{name}.weight"] * vectors / (vectors.pow(2).mean(-1, True) + 1e-6).sqrt()


def bucket(distance: int, *, both_ways: bool) -> int:
    """The bucket of a key `distance` places to the right of the query."""
    half = BUCKETS // 2 if both_ways else BUCKETS
    offset = half if both_ways and distance > 0 else 0
    away = abs(distance) if both_ways else max(-distance, 0)
    exact = half // 2
    if away < exact:
        return offset + away
    spread = math.log(away / exact) / math.log(FARTHEST / exact) * (half - exact)
    return offset + min(exact + int(spread), half - 1)


def position_bias(weights: Weights, stack: str, length: int) -> Tensor:
    """[heads, L, L]: from the first block's table, whatever the block."""
    table = weights[f"{stack}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"]
    both_ways = stack == "encoder"
    buckets = [
        [bucket(key - query, both_ways=both_ways) for key in range(length)]
        for query in range(length)
    ]
    return table[torch.tensor(buckets)].permute(2, 0, 1)


def attention(
    weights: Weights, name: str, queries: Tensor, keys: Tensor, allowed: Tensor, bias: Tensor | None
) -> Tensor:
    """One example's attention; T5 divides by no root of the heads' size."""
    q = (queries @ weights[f"{name}.q.weight"].T).unflatten(-1, (HEADS, -1))
    k = (keys @ weights[f"{name}.k.weight"].T).unflatten(-1, (HEADS, -1))
    v = (keys @ weights[f"{name}.v.weight"].T).unflatten(-1, (HEADS, -1))
    scores = torch.einsum("qhd,khd->hqk", q, k)
    scores = scores if bias is None else scores + bias
    scores = scores.masked_fill(~allowed, -math.inf)
    mixed = torch.einsum("hqk,khd->qhd", softmax(scores, dim=-1), v)
    return mixed.flatten(1) @ weights[f"{name}.o.weight"].T


def feed_forward(weights: Weights, name: str, vectors: Tensor) -> Tensor:
    inner = norm(weights, f"{name}.layer_norm", vectors)
    hidden = relu(inner @ weights[f"{name}.DenseReluDense.wi.weight"].T)
    return vectors + hidden @ weights[f"{name}.DenseReluDense.wo.weight"].T


def encoder(weights: Weights, vectors: Tensor, allowed: Tensor) -> Tensor:
    bias = position_bias(weights, "encoder", len(vectors))
    for index in range(LAYERS):
        name = f"encoder.block.{index}.layer"
        inner = norm(weights, f"{name}.0.layer_norm", vectors)
        attended = attention(weights, f"{name}.0.SelfAttention", inner, inner, allowed, bias)
        vectors = feed_forward(weights, f"{name}.1", vectors + attended)
    return norm(weights, "encoder.final_layer_norm", vectors)


def decoder_logits(weights: Weights, ids: list[int], memory: Tensor) -> Tensor:
    vectors = weights["shared.weight"][ids]
    causal = torch.ones(len(ids), len(ids)).tril().bool()
    everything = torch.ones(len(ids), len(memory)).bool()
    bias = position_bias(weights, "decoder", len(ids))
    for index in range(LAYERS):
        name = f"decoder.block.{index}.layer"
        inner = norm(weights, f"{name}.0.layer_norm", vectors)
        vectors = vectors + attention(
            weights, f"{name}.0.SelfAttention", inner, inner, causal, bias
        )
        inner = norm(weights, f"{name}.1.layer_norm", vectors)
        vectors = vectors + attention(
            weights, f"{name}.1.EncDecAttention", inner, memory, everything, None
        )
        vectors = feed_forward(weights, f"{name}.2", vectors)
    vectors = norm(weights, "decoder.final_layer_norm", vectors)
    return vectors / math.sqrt(vectors.shape[-1]) @ weights["shared.weight"].T


def fused_memory(
    weights: Weights, prompt: Tensor | None, media: list[Tensor], ids: list[int], *, blind: bool
) -> Tensor:
    """The encoder's output for one example without any padding: [P + V + A + T, H]."""
    length = 0 if prompt is None else len(prompt)
    parts = [*media, weights["shared.weight"][ids]]
    vectors = torch.cat(parts if prompt is None else [prompt, *parts])
    allowed = torch.ones(len(vectors), len(vectors)).bool()
    if blind:
        allowed[:length, length:] = False
    return encoder(weights, vectors, allowed)


def answer_logits(weights: Weights, memory: Tensor, answer: list[int]) -> Tensor:
    """[L, W]: the logits of each token of the answer, the last one `</s>`."""
    return decoder_logits(weights, [0, *answer[:-1]], memory)
