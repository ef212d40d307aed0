"""BART and the paper's fusion written out in plain PyTorch from the equations.

Nothing here calls the library or transformers' modelling code: only weights are taken from the
model. Source: section 3 of the paper; https://arxiv.org/abs/1910.13461 for BART.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import gelu, layer_norm, log_softmax, softmax

Weights = dict[str, Tensor]


def segment(weights: Weights, vectors: Tensor) -> Tensor:
    """Positions 0..L-1 (BART stores position i in row i + 2) and the embedding's norm."""
    positions = weights["model.encoder.embed_positions.weight"][2 : 2 + vectors.shape[0]]
    return norm(weights, "model.encoder.layernorm_embedding", vectors + positions)


def norm(weights: Weights, name: str, vectors: Tensor) -> Tensor:
    return layer_norm(
        vectors, vectors.shape[-1:], weights[f"{name}.weight"], weights[f"{name}.bias"]
    )


def linear(weights: Weights, name: str, vectors: Tensor) -> Tensor:
    return vectors @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def attention(
    weights: Weights, name: str, queries: Tensor, keys: Tensor, allowed: Tensor, heads: int
) -> Tensor:
    """One example's attention: queries [Q, H], keys [K, H], allowed [Q, K] bool."""
    size = queries.shape[-1] // heads
    q = linear(weights, f"{name}.q_proj", queries).view(-1, heads, size)
    k = linear(weights, f"{name}.k_proj", keys).view(-1, heads, size)
    v = linear(weights, f"{name}.v_proj", keys).view(-1, heads, size)
    scores = torch.einsum("qhd,khd->hqk", q, k) / math.sqrt(size)
    scores = scores.masked_fill(~allowed, -math.inf)
    mixed = torch.einsum("hqk,khd->qhd", softmax(scores, dim=-1), v)
    return linear(weights, f"{name}.out_proj", mixed.reshape(len(queries), -1))


def feed_forward(weights: Weights, name: str, vectors: Tensor) -> Tensor:
    return linear(weights, f"{name}.fc2", gelu(linear(weights, f"{name}.fc1", vectors)))


def encoder(
    weights: Weights, vectors: Tensor, allowed: Tensor, *, layers: int, heads: int
) -> Tensor:
    for index in range(layers):
        name = f"model.encoder.layers.{index}"
        attended = attention(weights, f"{name}.self_attn", vectors, vectors, allowed, heads)
        vectors = norm(weights, f"{name}.self_attn_layer_norm", vectors + attended)
        vectors = norm(
            weights, f"{name}.final_layer_norm", vectors + feed_forward(weights, name, vectors)
        )
    return vectors


def decoder_logits(
    weights: Weights, ids: list[int], memory: Tensor, *, layers: int, heads: int, scale: float
) -> Tensor:
    vectors = weights["model.shared.weight"][ids] * scale
    vectors = vectors + weights["model.decoder.embed_positions.weight"][2 : 2 + len(ids)]
    vectors = norm(weights, "model.decoder.layernorm_embedding", vectors)
    causal = torch.ones(len(ids), len(ids)).tril().bool()
    everything = torch.ones(len(ids), len(memory)).bool()
    for index in range(layers):
        name = f"model.decoder.layers.{index}"
        own = attention(weights, f"{name}.self_attn", vectors, vectors, causal, heads)
        vectors = norm(weights, f"{name}.self_attn_layer_norm", vectors + own)
        cross = attention(weights, f"{name}.encoder_attn", vectors, memory, everything, heads)
        vectors = norm(weights, f"{name}.encoder_attn_layer_norm", vectors + cross)
        vectors = norm(
            weights, f"{name}.final_layer_norm", vectors + feed_forward(weights, name, vectors)
        )
    return vectors @ weights["model.shared.weight"].T + weights["final_logits_bias"][0]


def fused_memory(
    weights: Weights,
    prompt: Tensor | None,
    media: list[Tensor],
    text_ids: list[int],
    *,
    blind: bool,
    layers: int,
    heads: int,
    scale: float,
) -> Tensor:
    """The encoder's output for one example without any padding: [P + V + A + T, H]."""
    text = weights["model.shared.weight"][text_ids] * scale
    parts = [segment(weights, part) for part in (*media, text)]
    length = 0 if prompt is None else len(prompt)
    if prompt is not None:
        parts.insert(0, segment(weights, prompt))
    vectors = torch.cat(parts)
    allowed = torch.ones(len(vectors), len(vectors)).bool()
    if blind:
        allowed[:length, length:] = False
    return encoder(weights, vectors, allowed, layers=layers, heads=heads)


def token_losses(logits: Tensor, targets: list[int]) -> Tensor:
    return -log_softmax(logits, dim=-1)[range(len(targets)), targets]


def memory_of(
    weights: Weights,
    parts: list[tuple[str, Tensor]],
    *,
    unseen: tuple[str, str] | None,
    layers: int,
    heads: int,
) -> Tensor:
    """The encoder's output over embedded parts (role, [L, H]), left to right.

    `unseen` is a pair of roles: queries of the first do not see keys of the second.
    """
    roles = [role for role, part in parts for _ in part]
    allowed = torch.tensor([[(query, key) != unseen for key in roles] for query in roles])
    vectors = torch.cat([part for _, part in parts])
    return encoder(weights, vectors, allowed, layers=layers, heads=heads)


def trained_segment(weights: Weights, vectors: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """A segment whose layer norm has a scale and shift of its own."""
    vectors = vectors + weights["model.encoder.embed_positions.weight"][2 : 2 + len(vectors)]
    centred = vectors - vectors.mean(dim=1, keepdim=True)
    deviation = (centred.square().mean(dim=1, keepdim=True) + 1e-5).sqrt()
    return centred / deviation * scale + shift


def lstm(vectors: Tensor, layer: Weights) -> Tensor:
    """PyTorch's own LSTM, one layer, one direction: [P, H] to [P, H]."""
    size = vectors.shape[1]
    named = {f"{name}_l0": weight for name, weight in layer.items()}
    output, _ = torch.func.functional_call(torch.nn.LSTM(size, size), named, (vectors,))
    return output
