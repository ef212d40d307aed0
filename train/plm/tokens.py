"""Token ids as every language model takes them: padded texts, label words."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from transformers import PreTrainedTokenizerBase

from ...errors import PlmError
from .protocol import TokenBatch


def padded(ids: Sequence[Sequence[int]], *, pad_id: int, device: torch.device) -> TokenBatch:
    """Return ids padded on the right to the longest: [N, T] int64 and bool."""
    lengths = torch.tensor([len(row) for row in ids])
    rows = torch.nn.utils.rnn.pad_sequence(
        [torch.tensor(row, dtype=torch.long) for row in ids],
        batch_first=True,
        padding_value=pad_id,
    )
    present = torch.arange(rows.shape[1])[None] < lengths[:, None]
    return TokenBatch(rows.to(device), present.to(device))


def first_tokens(
    tokenizer: PreTrainedTokenizerBase, labels: Sequence[str], *, device: torch.device
) -> torch.Tensor:
    """Return each label's first token id [C], without a leading space.

    Raises:
        PlmError: If two labels begin with the same token.
    """
    ids = [tokenizer(label, add_special_tokens=False).input_ids[0] for label in labels]
    if len(set(ids)) < len(ids):
        raise PlmError(
            f"the labels {list(labels)} do not differ in their first token under this "
            "tokenizer; choose label words that do"
        )
    return torch.tensor(ids, device=device)


def readable(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> list[str]:
    """Return each token as people read it, without the mark of a word's beginning."""
    return [str(tokenizer.decode([token])).strip() or "␣" for token in ids]
