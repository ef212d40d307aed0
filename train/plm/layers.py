"""What the encoders' layers share: room for a segment, keys and values lent by a prefix."""

from __future__ import annotations

from typing import Any, cast

from transformers import DynamicCache

from ...errors import PlmError


def require_positions(length: int, max_positions: int | None) -> None:
    """Return if a segment of `length` vectors has a position for each.

    Raises:
        PlmError: If it is longer than the model has positions.
    """
    if max_positions is not None and length > max_positions:
        raise PlmError(
            f"a segment of {length} vectors is longer than the model's {max_positions} "
            "positions; pool it before it is embedded"
        )


def lend(own: DynamicCache, shared: DynamicCache, layer: int, *, per_run: int) -> None:
    """Put a prefix's keys and values of one layer before those of every row of its run.

    Args:
        own: What the prefix wrote, R rows.
        shared: What the R * `per_run` rows of the inputs read.
        layer: The layer's number.
        per_run: Rows that share a prefix.
    """
    cached = cast(Any, own.layers[layer])
    shared.update(
        cached.keys.repeat_interleave(per_run, dim=0),
        cached.values.repeat_interleave(per_run, dim=0),
        layer,
    )
