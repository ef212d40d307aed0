"""Where a modality's vectors come from: cached features, or an encoder that runs live."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ...cache.decoded import is_decoded
from ...cache.modalities import MODALITIES
from ...cache.store import FeatureSet
from ...errors import ConfigError
from ..fusion.methods import WidthFix
from ..fusion.parameters import Parameters, encoder_weights
from ..fusion.width import width_map
from ..live import LoadLive, TrainableEncoder, encode_live
from ..plm.frozen import PLM, Segment
from .selection import Selection


@dataclass(frozen=True)
class Source:
    """One modality's features as they are fed in.

    Attributes:
        modality: A name in `MODALITIES`.
        features: The cached feature set.
        field: The field that is read.
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

    Args:
        features: The set.
        plm: The frozen language model.
        field: Of the set, or of what an encoder that runs live puts out.
        width_fix: The parameter-free map where widths differ.
        live: Gives the encoder of decoded media.

    Raises:
        ConfigError: If it has no such field, or holds decoded media and nothing encodes them.
        WidthMismatch: If the widths differ and `width_fix` is "none".
    """
    field = field or MODALITIES[features.modality].default_field
    if is_decoded(features.manifest):
        return _live_source(features, plm, field, width_fix, live)
    specs = {spec.name: spec for spec in features.manifest.fields}
    if field not in specs:
        raise ConfigError(
            f"the {features.modality} features {features.fingerprint} have no field {field!r}; "
            f"they have: {', '.join(sorted(specs))}"
        )
    what = f"{features.modality} encoder {features.manifest.identity.get('id')}"
    width = width_map(specs[field].shape[-1], plm.hidden_size, fix=width_fix, what=what)
    return Source(features.modality, features, field, width)


def _live_source(
    features: FeatureSet, plm: PLM, field: str, width_fix: WidthFix, live: LoadLive | None
) -> Source:
    if live is None:
        raise ConfigError(
            f"the {features.modality} features {features.fingerprint} are decoded media, and no "
            "encoder was handed over to run on them; pass `live`, as pfcli train does"
        )
    encoder = live(features, field)
    what = f"{features.modality} encoder {encoder.id}"
    width = width_map(encoder.width, plm.hidden_size, fix=width_fix, what=what)
    return Source(features.modality, features, encoder.field, width, encoder)


def open_sources(selection: Selection, plm: PLM, live: LoadLive | None = None) -> list[Source]:
    """Return the selected feature sets ready to be fed to `plm`, in the paper's order.

    Args:
        selection: What was selected.
        plm: The frozen language model.
        live: Gives the encoders of decoded media.

    Raises:
        ConfigError: If a set has no such field as was chosen, or nothing encodes decoded media.
        WidthMismatch: If an encoder's width differs and no fix was chosen.
    """
    choice = selection.choice
    return [
        open_source(
            features,
            plm,
            field=(choice.fields or {}).get(modality),
            width_fix=choice.width_fix,
            live=live,
        )
        for modality, features in selection.features.items()
    ]


def read_steps(
    source: Source, keys: Sequence[bytes], plm: PLM, parameters: Parameters | None = None
) -> Segment:
    """Return the vectors of `keys` in the language model's width, padded: [N, L, H].

    A sequence of more steps than the language model has positions is averaged in equal windows,
    the fewest steps a window that make it fit (20.48 s of wav2vec2 vectors fill BART's 1,024).

    Args:
        source: Where the vectors are, or what makes them.
        keys: Of the media, grouped by run.
        plm: The frozen language model.
        parameters: Those of an encoder that runs live, each [R, …]; None runs it as pretrained.
    """
    if source.encoder is None:
        values, lengths = _cached_vectors(source, keys)
    else:
        values, lengths = _live_vectors(source, source.encoder, keys, parameters or {})
    return padded_steps(values.to(plm.device, plm.dtype).split(lengths), plm, width=source.width)


def padded_steps(media: Sequence[torch.Tensor], plm: PLM, *, width: torch.Tensor | None) -> Segment:
    """Return each medium's vectors in the language model's width, padded: [N, L, H].

    Args:
        media: N times an encoder's vectors, [steps, W].
        plm: The frozen language model.
        width: The fixed map [W, H], or None where W is H.
    """
    mapped = media if width is None else [rows @ width.to(rows) for rows in media]
    steps = [fit_positions(rows, plm.max_positions) for rows in mapped]
    padded = torch.nn.utils.rnn.pad_sequence(steps, batch_first=True)
    counts = torch.tensor([len(rows) for rows in steps])
    present = torch.arange(padded.shape[1])[None] < counts[:, None]
    return Segment(padded, present.to(plm.device))


def _cached_vectors(source: Source, keys: Sequence[bytes]) -> tuple[torch.Tensor, list[int]]:
    """Return all rows' vectors end to end, [steps, width], and how many each row has."""
    packed = source.features.read(keys, source.field)
    values = torch.from_numpy(np.ascontiguousarray(packed.values))
    lengths = np.diff(packed.offsets)
    if values.dim() == 3:  # a step is itself a sequence, such as a tower's tokens [S, H]
        lengths = lengths * values.shape[1]
        values = values.flatten(0, 1)
    return values, lengths.tolist()


def _live_vectors(
    source: Source, encoder: TrainableEncoder, keys: Sequence[bytes], parameters: Parameters
) -> tuple[torch.Tensor, list[int]]:
    """Return the same as `_cached_vectors`, each run's rows through its own encoder.

    A medium that comes twice in a run's part of the batch is encoded once.
    """
    (field,) = source.features.manifest.fields
    runs = len(parameters["prompt"]) if "prompt" in parameters else 1
    rows: list[torch.Tensor] = []
    for run in range(runs):
        part = keys[run * len(keys) // runs : (run + 1) * len(keys) // runs]
        unique = list(dict.fromkeys(part))
        weights = encoder_weights(parameters, source.modality, run)
        vectors = encode_live(encoder, source.features.read(unique, field.name), weights)
        of_key = dict(zip(unique, vectors, strict=True))
        rows += [of_key[key] for key in part]
    return torch.cat(rows), [len(row) for row in rows]


def fit_positions(steps: torch.Tensor, limit: int | None) -> torch.Tensor:
    """Return [L, H] as it is, or the means of consecutive equal windows that make it fit `limit`.

    Only the last window may have fewer steps. It depends on the medium alone, never on its batch.
    """
    if limit is None or len(steps) <= limit:
        return steps
    return torch.stack([window.mean(dim=0) for window in steps.split(-(-len(steps) // limit))])
