"""Parameter-free ways to put an encoder's vectors into a language model of another width."""

import torch

from ...errors import WidthMismatch
from .methods import WidthFix

_SEED = 20220314  # fixed, so that every run and machine draws the same map


def width_map(
    encoder_width: int, plm_width: int, *, fix: WidthFix, what: str
) -> torch.Tensor | None:
    """Return the fixed [encoder_width, plm_width] float32 map, or None where the widths agree.

    To "pad" appends zeros (encoder narrower only), "orthogonal" is a seeded random map with
    orthonormal rows or columns, "none" refuses; `what` names the feature set in messages.

    Raises:
        WidthMismatch: If the widths differ and `fix` does not apply.
    """
    if encoder_width == plm_width:
        return None
    if fix == "none":
        raise WidthMismatch(
            f"{what} gives width {encoder_width}, the language model takes width {plm_width}; "
            "choose an encoder of that width, or a parameter-free map: "
            "--width-fix orthogonal (or pad, where the encoder is the narrower)"
        )
    if fix == "pad":
        if encoder_width > plm_width:
            raise WidthMismatch(
                f"{what} has width {encoder_width}, more than the language model's {plm_width}: "
                "zero padding cannot narrow it; use --width-fix orthogonal"
            )
        return torch.eye(encoder_width, plm_width)
    return _orthogonal(encoder_width, plm_width)


def _orthogonal(rows: int, columns: int) -> torch.Tensor:
    gaussian = torch.randn(
        max(rows, columns), min(rows, columns), generator=torch.Generator().manual_seed(_SEED)
    )
    orthonormal, triangle = torch.linalg.qr(gaussian)
    orthonormal = orthonormal * triangle.diagonal().sign()  # makes the decomposition unique
    return orthonormal if rows >= columns else orthonormal.T.contiguous()
