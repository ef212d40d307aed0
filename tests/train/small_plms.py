"""A small random language model of every family."""

from __future__ import annotations

from pathlib import Path

import torch

from promptfuse.train.plm.frozen import PLM, EncoderStates, Segment
from promptfuse.train.plm.prefix import spread

from .small_bart import small_bart
from .small_bert import small_bert
from .small_t5 import small_t5

SMALL = {"bart": small_bart, "t5": small_t5, "bert": small_bert}

CLOSE = {"bart": 1e-5, "t5": 1e-4, "bert": 1e-5}
"""How far two orders of the same additions may differ; T5's scores are not scaled down."""

START = {"bart": [2, 0], "t5": [0]}
"""What a decoder is fed before an answer's first token, by the families' papers and checkpoints."""

HEADS = {"bart": "encoder_attention_heads", "t5": "num_heads", "bert": "num_attention_heads"}
"""The configuration's entry of how many heads an encoder's layer has."""

WITHOUT_NORM = ("t5",)
"""The families that put no norm on what their layers are fed."""


def save_small(family: str, folder: Path, seed: int = 0) -> PLM:
    plm = SMALL[family](seed)
    plm.model.save_pretrained(folder)
    plm.tokenizer.save_pretrained(folder)
    return plm


def embedded(plm: PLM, vectors: torch.Tensor) -> torch.Tensor:
    """Return a segment's vectors [N, L, H] through the model's own positions and norm."""
    if plm.family == "bert":
        return plm.model.bert.embeddings(inputs_embeds=vectors)
    if plm.family == "t5":
        return vectors
    encoder = plm.model.model.encoder
    return encoder.layernorm_embedding(vectors + encoder.embed_positions(vectors[..., 0]))


def text_of(plm: PLM, texts: list[str]) -> Segment:
    """Return the segment of some texts, padded, through the model's own embedding."""
    batch = plm.pad(plm.tokenise(texts))
    return Segment(embedded(plm, plm.embed_tokens(batch.ids)), batch.present, batch.answer_at)


def whole(states: EncoderStates) -> Segment:
    """Return the fused sequence as one, a prefix that was run once beside each of its rows."""
    if states.prefix is None:
        return states
    rows, length = len(states.vectors), states.prefix.states.shape[1]
    return Segment(
        torch.cat([spread(states.prefix.states, rows), states.vectors], dim=1),
        torch.cat([torch.ones(rows, length, dtype=torch.bool), states.present], dim=1),
        None if states.answer_at is None else states.answer_at + length,
    )
