"""Language models of the published shapes with random weights: for time, only shapes matter."""

from types import SimpleNamespace
from typing import Any

import torch
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    T5Config,
    T5ForConditionalGeneration,
)

from ..train.plm.bart import BartPLM
from ..train.plm.t5 import T5PLM

HIDDEN = 768
"""The width H of both base shapes."""


def bart_base(dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu") -> BartPLM:
    """Return a BART of base shape: 6 + 6 layers, 12 heads, 50,265 words."""
    shape = {"layers": 6, "attention_heads": 12, "ffn_dim": 3072}
    sides: dict[str, Any] = {
        f"{side}_{name}": n for side in ("encoder", "decoder") for name, n in shape.items()
    }
    torch.manual_seed(0)
    model: Any = BartForConditionalGeneration(BartConfig(d_model=HIDDEN, **sides))
    return BartPLM(model.to(device, dtype), _numbers([0, 2]))


def t5_base(dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu") -> T5PLM:
    """Return a T5 of base shape: 12 + 12 layers, 12 heads, 32,128 words."""
    config = T5Config(d_model=HIDDEN, d_ff=3072, num_layers=12, num_heads=12)
    torch.manual_seed(0)
    model: Any = T5ForConditionalGeneration(config)
    model.config.decoder_start_token_id = 0
    return T5PLM(model.to(device, dtype), _numbers([1]))


def _numbers(empty: list[int]) -> Any:
    return _Numbers(empty)


class _Numbers:
    """A tokenizer without words: it knows the empty text, and reads tokens as their numbers."""

    def __init__(self, empty: list[int]) -> None:
        self.empty = empty

    def __call__(self, _: str) -> SimpleNamespace:
        return SimpleNamespace(input_ids=self.empty)

    def batch_decode(self, rows: torch.Tensor, *, skip_special_tokens: bool) -> list[str]:
        """Return each row's tokens, but for the first four: those of the end and the padding."""
        least = 4 if skip_special_tokens else 0
        return [" ".join(str(token) for token in row if token >= least) for row in rows.tolist()]
