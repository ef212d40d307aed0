"""BERT and the paper's fusion written out in plain PyTorch from the equations.

Nothing here calls the library or transformers' modelling code: only weights are taken from the
model. Source: section 3 of the paper; https://arxiv.org/abs/1810.04805 for BERT.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import gelu, layer_norm, softmax

from .paper_equations import Weights, linear

LAYERS, HEADS = 2, 4


def norm(weights: Weights, name: str, vectors: Tensor) -> Tensor:
    weight, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
    return layer_norm(vectors, vectors.shape[-1:], weight, bias, eps=1e-12)


def segment(weights: Weights, vectors: Tensor) -> Tensor:
    """Positions 0..L-1, the first token type, and the embedding's norm."""
    positions = weights["bert.embeddings.position_embeddings.weight"][: len(vectors)]
    kind = weights["bert.embeddings.token_type_embeddings.weight"][0]
    return norm(weights, "bert.embeddings.LayerNorm", vectors + positions + kind)


def attention(weights: Weights, name: str, vectors: Tensor, allowed: Tensor) -> Tensor:
    q, k, v = (
        linear(weights, f"{name}.self.{role}", vectors).unflatten(-1, (HEADS, -1))
        for role in ("query", "key", "value")
    )
    scores = torch.einsum("qhd,khd->hqk", q, k) / math.sqrt(q.shape[-1])
    scores = scores.masked_fill(~allowed, -math.inf)
    mixed = torch.einsum("hqk,khd->qhd", softmax(scores, dim=-1), v).flatten(1)
    return linear(weights, f"{name}.output.dense", mixed)


def encoder(weights: Weights, vectors: Tensor, allowed: Tensor) -> Tensor:
    for index in range(LAYERS):
        name = f"bert.encoder.layer.{index}"
        attended = attention(weights, f"{name}.attention", vectors, allowed)
        vectors = norm(weights, f"{name}.attention.output.LayerNorm", vectors + attended)
        inner = gelu(linear(weights, f"{name}.intermediate.dense", vectors))
        outer = linear(weights, f"{name}.output.dense", inner)
        vectors = norm(weights, f"{name}.output.LayerNorm", vectors + outer)
    return vectors


def fused_memory(
    weights: Weights, prompt: Tensor | None, media: list[Tensor], ids: list[int], *, blind: bool
) -> Tensor:
    """The encoder's output for one example without any padding: [P + V + A + T, H]."""
    text = weights["bert.embeddings.word_embeddings.weight"][ids]
    length = 0 if prompt is None else len(prompt)
    parts = [*media, text] if prompt is None else [prompt, *media, text]
    vectors = torch.cat([segment(weights, part) for part in parts])
    allowed = torch.ones(len(vectors), len(vectors)).bool()
    if blind:
        allowed[:length, length:] = False
    return encoder(weights, vectors, allowed)


def answer_logits(weights: Weights, memory: Tensor, answer: list[int]) -> Tensor:
    """[1, W]: the logits at the mask, which stands before the last position."""
    assert len(answer) == 1
    inner = gelu(linear(weights, "cls.predictions.transform.dense", memory[-2:-1]))
    inner = norm(weights, "cls.predictions.transform.LayerNorm", inner)
    words = weights["bert.embeddings.word_embeddings.weight"]
    return inner @ words.T + weights["cls.predictions.bias"]
