"""Examples of the language model's pretraining, as arrays."""

from dataclasses import dataclass, field
from itertools import zip_longest

import numpy as np

SEGMENTS = ("prompt", "visual", "audio", "text")
SLOT_TOKENS = 4  # a slot's vector is a weighted sum of at most this many token embeddings
IGNORED = -100


@dataclass
class Slot:
    """One input vector: weighted tokens plus a random part, both multiplied by `gain`."""

    tokens: tuple[int, ...] = ()
    weight: float = 1.0
    extra: np.ndarray | None = None
    gain: float = 1.0


@dataclass
class Example:
    """One example: its segments and its answer's ids."""

    target: list[int]
    segments: dict[str, list[Slot]] = field(default_factory=dict)
    blind: bool = False


@dataclass(frozen=True)
class Batch:
    """Arrays of a batch: B examples, S slots, J tokens a slot, H hidden size, L answer tokens."""

    token_ids: np.ndarray  # [B, S, J] int64
    weights: np.ndarray  # [B, S, J] float32
    extra: np.ndarray  # [B, S, H] float32, in units of the embeddings' root mean square
    gains: np.ndarray  # [B, S, 1] float32
    positions: np.ndarray  # [B, S] int64, counted from 0 in every segment
    visible: np.ndarray  # [B, S, S] bool: may the first see the second
    attention_mask: np.ndarray  # [B, S] int64
    labels: np.ndarray  # [B, L] int64


def collate(examples: list[Example], hidden: int) -> Batch:
    """Return the arrays of a list of examples, padded at the end."""
    rows = [
        [
            (segment, place, slot)
            for segment in SEGMENTS
            for place, slot in enumerate(example.segments.get(segment, []))
        ]
        for example in examples
    ]
    shape = len(rows), max(map(len, rows))
    token_ids = np.zeros((*shape, SLOT_TOKENS), np.int64)
    weights = np.zeros((*shape, SLOT_TOKENS), np.float32)
    extra = np.zeros((*shape, hidden), np.float32)
    gains = np.ones((*shape, 1), np.float32)
    positions = np.zeros(shape, np.int64)
    in_prompt, present = np.zeros(shape, bool), np.zeros(shape, bool)
    for i, row in enumerate(rows):
        for j, (segment, place, slot) in enumerate(row):
            token_ids[i, j, : len(slot.tokens)] = slot.tokens
            weights[i, j, : len(slot.tokens)] = slot.weight
            extra[i, j] = 0 if slot.extra is None else slot.extra
            gains[i, j] = slot.gain
            positions[i, j] = place
            in_prompt[i, j] = segment == "prompt"
            present[i, j] = True
    blind = np.array([example.blind for example in examples])[:, None, None]
    hidden_pairs = blind & in_prompt[:, :, None] & ~in_prompt[:, None, :]
    visible = present[:, None, :] & ~hidden_pairs
    labels = np.array(list(zip_longest(*(e.target for e in examples), fillvalue=IGNORED)))
    attention = present.astype(np.int64)
    return Batch(token_ids, weights, extra, gains, positions, visible, attention, labels.T.copy())
