"""A small random language model of every family."""

from __future__ import annotations

from pathlib import Path

from promptfuse.train.plm.protocol import PLM

from .small_bart import small_bart
from .small_bert import small_bert
from .small_t5 import small_t5

SMALL = {"bart": small_bart, "t5": small_t5, "bert": small_bert}

CLOSE = {"bart": 1e-5, "t5": 1e-4, "bert": 1e-5}
"""How far two orders of the same additions may differ; T5's scores are not scaled down."""


def save_small(family: str, folder: Path, seed: int = 0) -> PLM:
    plm = SMALL[family](seed)
    plm.model.save_pretrained(folder)
    plm.tokenizer.save_pretrained(folder)
    return plm
