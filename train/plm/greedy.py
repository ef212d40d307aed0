"""Greedy answers, token by token; a row whose answer has ended leaves the batch."""

from collections.abc import Callable

import torch


def greedy(
    best_next: Callable[[torch.Tensor], torch.Tensor],
    keep: Callable[[torch.Tensor], None],
    start: torch.Tensor,
    *,
    end: int,
    limit: int,
) -> torch.Tensor:
    """Return [N, limit] int64: the tokens that each row is continued with, `end` from its end on.

    Args:
        best_next: Gives the likeliest next token [n] of the rows that are left, after the tokens
            [n, L] that they have got since it was last called.
        keep: Is told the places [m] int64, among the rows that are left, of those that go on.
        start: [N, L] int64, what every row begins with.
        end: The token that ends an answer.
        limit: The most tokens of an answer, its end not counted.
    """
    fed, rows = start, torch.arange(len(start), device=start.device)
    written = start.new_full((len(start), limit), end)
    for step in range(limit):
        best = best_next(fed)
        written[rows, step] = best
        going = (best != end).nonzero()[:, 0]
        if not len(going):
            break
        if len(going) < len(rows):
            best, rows = best[going], rows[going]
            keep(going)
        fed = best[:, None]
    return written
