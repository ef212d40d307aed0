"""Trained layers of R runs at once: weights carry a leading run dimension.

Rows are grouped by run: rows r * B to (r + 1) * B of the N = R * B belong to run r.
"""

import torch


def run_linear(vectors: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """Return [N, L, O] in the dtype of `vectors`, each row through its own run's linear layer.

    Args:
        vectors: [N, L, I].
        weight: [R, O, I] float32.
        bias: [R, O] float32.
    """
    rows, length = vectors.shape[:2]
    grouped = vectors.to(weight.dtype).reshape(weight.shape[0], -1, weight.shape[2])
    projected = torch.baddbmm(bias[:, None], grouped, weight.mT)
    return projected.view(rows, length, -1).to(vectors.dtype)


def run_scale(vectors: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """Return [N, L, H] in the dtype of `vectors`: its own run's scale and shift on each row.

    Args:
        vectors: [N, L, H].
        weight: [R, H] float32.
        bias: [R, H] float32.
    """
    grouped = vectors.to(weight.dtype).unflatten(0, (weight.shape[0], -1))
    scaled = grouped * weight[:, None, None] + bias[:, None, None]
    return scaled.flatten(0, 1).to(vectors.dtype)


def run_lstm(
    vectors: torch.Tensor,
    *,
    weight_ih: torch.Tensor,
    bias_ih: torch.Tensor,
    weight_hh: torch.Tensor,
    bias_hh: torch.Tensor,
) -> torch.Tensor:
    """Return the hidden states [R, P, H] of a one-layer unidirectional LSTM, one a run.

    Args:
        vectors: [R, P, H] float32.
        weight_ih: [R, 4H, H], input to gates (input, forget, cell, output).
        bias_ih: [R, 4H].
        weight_hh: [R, 4H, H], hidden state to gates.
        bias_hh: [R, 4H].
    """
    from_inputs = torch.baddbmm((bias_ih + bias_hh)[:, None], vectors, weight_ih.mT)
    hidden = cell = torch.zeros_like(vectors[:, :1])
    states: list[torch.Tensor] = []
    for gates in from_inputs.split(1, dim=1):
        gates = torch.baddbmm(gates, hidden, weight_hh.mT)
        enter, keep, candidate, leave = gates.chunk(4, dim=-1)
        cell = keep.sigmoid() * cell + enter.sigmoid() * candidate.tanh()
        hidden = leave.sigmoid() * cell.tanh()
        states.append(hidden)
    return torch.cat(states, dim=1)
