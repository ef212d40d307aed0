"""Where a modality's vectors come from: cached features, or an encoder that runs live."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn.utils.rnn import pad_sequence

from ...cache.modalities import MODALITIES
from ...cache.store import FeatureSet
from ...errors import ConfigError, WidthMismatch
from ..fusion.methods import WidthFix
from ..live import LoadLive, TrainableEncoder
from ..plm.frozen import PLM, Segment
from .selection import Selection

_SEED = 20220314  # fixed, so that every run and machine draws the same map


@dataclass(frozen=True)
class Source:
    """One modality's features as they are fed in.

    Attributes:
        width: The fixed map to the language model's width, or None where they agree.
        encoder: What makes vectors of the rows where they are decoded media, else None.
    """

    modality: str
    features: FeatureSet
    field: str
    width: torch.Tensor | None
    encoder: TrainableEncoder | None = None


def open_source(
    features: FeatureSet,
    plm: PLM,
    *,
    field: str | None,
    width_fix: WidthFix,
    live: LoadLive | None = None,
) -> Source:
    """Return a feature set ready to be fed to `plm`.

    The field is of the set, or of what an encoder puts out that runs `live` on decoded media; by
    default it is the usual one.
    """
    modality, manifest = features.modality, features.manifest
    field = field or MODALITIES[modality].default_field
    if not manifest.decoded:
        encoder, name, given = None, manifest.identity.get("id"), manifest.field(field).shape[-1]
    elif live is None:
        raise ConfigError(
            f"the {modality} features {features.fingerprint} are decoded media, and no encoder was "
            "handed over to run on them; pass `live`, as pfcli train does"
        )
    else:
        encoder = live(features, field)
        field, name, given = encoder.field, encoder.id, encoder.width
    what = f"{modality} encoder {name}"
    width = width_map(given, plm.hidden_size, fix=width_fix, what=what)
    width = None if width is None else width.to(plm.device, plm.dtype)
    return Source(modality, features, field, width, encoder)


def open_sources(selection: Selection, plm: PLM, live: LoadLive | None = None) -> list[Source]:
    """Return the selected feature sets as `open_source` does, in the paper's order."""
    fields, fix = selection.choice.fields, selection.choice.width_fix
    return [
        open_source(features, plm, field=fields.get(modality), width_fix=fix, live=live)
        for modality, features in selection.features.items()
    ]


def width_map(
    encoder_width: int, plm_width: int, *, fix: WidthFix, what: str
) -> torch.Tensor | None:
    """Return the fixed [encoder_width, plm_width] float32 map, or None where the widths agree.

    To "pad" appends zeros (encoder narrower only), "orthogonal" is a seeded random map with
    orthonormal rows or columns, "none" refuses; `what` names the feature set in messages.
    """
    if encoder_width == plm_width:
        return None
    if fix == "none":
        raise WidthMismatch(
            f"{what} gives width {encoder_width}, the language model takes width {plm_width}; "
            "choose an encoder of that width, or a parameter-free map: "
            "--width-fix orthogonal (or pad, where the encoder is the narrower)"
        )
    if fix == "orthogonal":
        wide, narrow = max(encoder_width, plm_width), min(encoder_width, plm_width)
        generator = torch.Generator().manual_seed(_SEED)
        tall = torch.nn.init.orthogonal_(torch.empty(wide, narrow), generator=generator)
        return tall if encoder_width == wide else tall.T.contiguous()
    if encoder_width > plm_width:
        raise WidthMismatch(
            f"{what} has width {encoder_width}, more than the language model's {plm_width}: "
            "zero padding cannot narrow it; use --width-fix orthogonal"
        )
    return torch.eye(encoder_width, plm_width)


def padded_steps(media: Sequence[torch.Tensor], plm: PLM, *, width: torch.Tensor | None) -> Segment:
    """Return N media's vectors [steps, W] in the model's width (by a map [W, H]): [N, L, H]."""
    mapped = media if width is None else [rows @ width.to(rows) for rows in media]
    steps = [fit_positions(rows, plm.max_positions) for rows in mapped]
    there = [rows.new_ones(len(rows), dtype=torch.bool) for rows in steps]
    return Segment(pad_sequence(steps, batch_first=True), pad_sequence(there, batch_first=True))


def fit_positions(steps: torch.Tensor, limit: int | None) -> torch.Tensor:
    """Return [L, H] as it is, or the means of consecutive equal windows that make it fit `limit`.

    Only the last window may have fewer steps. It depends on the medium alone, never on its batch.
    """
    if limit is None or len(steps) <= limit:
        return steps
    return torch.stack([window.mean(dim=0) for window in steps.split(-(-len(steps) // limit))])
