"""Cached examples joined with cached features, as batches of segments for a language model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ..cache.examples import ExampleTable
from ..cache.keys import BLANK_KEY
from ..cache.store import FeatureSet
from ..errors import ConfigError
from .fusion.sequence import Segment
from .fusion.width import WidthFix, width_map
from .plm.protocol import PLM
from .selection import Selection, has_row

FIELDS = {"image": "pooler", "video": "pooler", "audio": "last_hidden_state"}
"""The field of each modality's features that is fed in, unless another is asked for."""

_POOLING_ROWS = 32  # media padded together while a split is prepared


@dataclass(frozen=True)
class Source:
    """One modality's features as they are fed in.

    Attributes:
        modality: "image", "video" or "audio".
        features: The cached feature set.
        field: The field that is read.
        width: The fixed map to the language model's width, or None where they agree.
    """

    modality: str
    features: FeatureSet
    field: str
    width: torch.Tensor | None

    @property
    def pooled(self) -> bool:
        """Whether the vectors are averaged over time into one (video and audio, section 3.1)."""
        return self.modality in ("video", "audio")


def open_source(
    features: FeatureSet, plm: PLM, *, field: str | None, width_fix: WidthFix
) -> Source:
    """Return a feature set ready to be fed to `plm`.

    Raises:
        ConfigError: If it has no such field.
        WidthMismatch: If the widths differ and `width_fix` is "none".
    """
    field = field or FIELDS[features.modality]
    specs = {spec.name: spec for spec in features.manifest.fields}
    if field not in specs:
        raise ConfigError(
            f"the {features.modality} features {features.fingerprint} have no field {field!r}; "
            f"they have: {', '.join(sorted(specs))}"
        )
    what = f"{features.modality} encoder {features.manifest.identity.get('id')}"
    width = width_map(specs[field].shape[-1], plm.hidden_size, fix=width_fix, what=what)
    return Source(features.modality, features, field, width)


def open_sources(selection: Selection, plm: PLM) -> list[Source]:
    """Return the selected feature sets ready to be fed to `plm`, in the paper's order.

    Raises:
        ConfigError: If a set has no such field as was chosen.
        WidthMismatch: If an encoder's width differs and no fix was chosen.
    """
    choice = selection.choice
    return [
        open_source(
            features, plm, field=(choice.fields or {}).get(modality), width_fix=choice.width_fix
        )
        for modality, features in selection.features.items()
    ]


class FusionData:
    """A split of a dataset, ready to be cut into batches of segments.

    Texts are tokenised once; media that are averaged over time are embedded and averaged once
    (their positions and norm are frozen), the others are read from the cache at every batch.

    Args:
        table: The examples.
        sources: One a modality, in the order of the fused sequence.
        plm: The frozen language model.
        blank: Feed every example the encoder's output for a black image or silence (BlackImage).
    """

    def __init__(
        self, table: ExampleTable, sources: Sequence[Source], plm: PLM, *, blank: bool = False
    ) -> None:
        self.table = table
        self.sources = list(sources)
        self.plm = plm
        self.text_ids = plm.tokenise(table.texts)
        self.keys = {
            source.modality: _row_keys(table, source, blank=blank) for source in self.sources
        }
        self.substituted = 0 if blank else _substituted(self.keys)
        self._pooled = {
            source.modality: self._pool(source) for source in self.sources if source.pooled
        }

    def __len__(self) -> int:
        return len(self.table)

    def segments(self, indices: Sequence[int] | np.ndarray) -> list[Segment]:
        """Return the input segments (media, then text) of the examples at `indices`."""
        texts = self.plm.pad([self.text_ids[index] for index in indices])
        text = Segment(self.plm.embed_text(texts.ids), texts.present, texts.answer_at)
        return [*(self._medium(source, indices) for source in self.sources), text]

    def _medium(self, source: Source, indices: Sequence[int] | np.ndarray) -> Segment:
        if source.pooled:
            vectors, rows = self._pooled[source.modality]
            return Segment.whole(vectors[rows[torch.as_tensor(np.asarray(indices))]][:, None])
        keys = [self.keys[source.modality][index] for index in indices]
        segment = read_segment(source, keys, self.plm)
        return Segment(self.plm.embed_segment(segment.vectors), segment.present)

    @torch.no_grad()  # not inference_mode: these vectors take part in training
    def _pool(self, source: Source) -> tuple[torch.Tensor, torch.Tensor]:
        """Return one vector a distinct medium, [media, H], and each example's row in it."""
        unique = sorted(set(self.keys[source.modality]))
        parts = [
            pool_over_time(
                read_segment(source, unique[start : start + _POOLING_ROWS], self.plm), self.plm
            )
            for start in range(0, len(unique), _POOLING_ROWS)
        ]
        row = {key: index for index, key in enumerate(unique)}
        rows = torch.tensor([row[key] for key in self.keys[source.modality]], dtype=torch.long)
        return torch.cat(parts), rows


def read_segment(source: Source, keys: Sequence[bytes], plm: PLM) -> Segment:
    """Return the cached vectors of `keys` in the language model's width, padded: [N, L, H]."""
    packed = source.features.read(keys, source.field)
    values = torch.from_numpy(np.ascontiguousarray(packed.values)).to(plm.device, plm.dtype)
    if source.width is not None:
        values = values @ source.width.to(values)
    lengths = torch.from_numpy(np.diff(packed.offsets))
    padded = torch.nn.utils.rnn.pad_sequence(list(values.split(lengths.tolist())), batch_first=True)
    present = torch.arange(padded.shape[1])[None] < lengths[:, None]
    return Segment(padded, present.to(plm.device))


def pool_over_time(segment: Segment, plm: PLM) -> torch.Tensor:
    """Return [N, H]: every step with its position and norm, then the mean over the steps.

    A clip of more steps than the language model has positions is first averaged in equal windows,
    the fewest steps a window that make it fit (20.48 s of wav2vec2 vectors fill BART's 1,024).

    Source: the released code (positions and norm come before the mean).
    """
    window = 1 if plm.max_positions is None else -(-segment.vectors.shape[1] // plm.max_positions)
    segment = average_windows(segment, window)
    embedded = plm.embed_segment(segment.vectors)
    weights = segment.present[..., None].to(embedded.dtype)
    return (embedded * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)


def average_windows(segment: Segment, window: int) -> Segment:
    """Return the mean of each `window` consecutive steps present: [N, ceil(L/window), H]."""
    if window <= 1:
        return segment
    short = -segment.vectors.shape[1] % window
    vectors = torch.nn.functional.pad(segment.vectors, (0, 0, 0, short))
    present = torch.nn.functional.pad(segment.present, (0, short))
    vectors = vectors.unflatten(1, (-1, window))
    weights = present.unflatten(1, (-1, window))[..., None].to(vectors.dtype)
    means = (vectors * weights).sum(dim=2) / weights.sum(dim=2).clamp(min=1)
    return Segment(means, weights.squeeze(-1).any(dim=2))


def _row_keys(table: ExampleTable, source: Source, *, blank: bool) -> list[bytes]:
    """Return each example's key, the blank row's where it has no features or `blank` says so."""
    if blank:
        return [BLANK_KEY] * len(table)
    keys = table.keys(source.modality)
    held = has_row(source.features, keys)
    return [key if key and there else BLANK_KEY for key, there in zip(keys, held, strict=True)]


def _substituted(keys: dict[str, list[bytes]]) -> int:
    """Return how many examples have a blank in place of at least one medium."""
    rows = [[key == BLANK_KEY for key in column] for column in keys.values()]
    return sum(map(any, zip(*rows, strict=True))) if rows else 0
