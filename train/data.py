"""Cached examples joined with cached features, as batches of segments for a language model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
import torch

from ..cache.decoded import is_decoded
from ..cache.examples import ExampleTable
from ..cache.keys import BLANK_KEY
from ..cache.modalities import MODALITIES
from ..cache.store import FeatureSet
from ..errors import ConfigError
from .fusion.embedding import SegmentEmbedding, standardise
from .fusion.layers import run_linear, run_scale
from .fusion.methods import Fusion
from .fusion.parameters import Parameters, encoder_weights
from .fusion.sequence import Segment
from .fusion.width import WidthFix, width_map
from .live import LiveEncoder, LoadLive, encode_live
from .plm.protocol import PLM, TokenBatch
from .selection import Selection, has_row

_POOLING_ROWS = 32  # media padded together while a split is prepared


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
    encoder: LiveEncoder | None = None

    @property
    def temporal(self) -> bool:
        """Whether the vectors are steps in time, to be pooled into one (section 3.1)."""
        return MODALITIES[self.modality].temporal


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


class FusionData:
    """A split of a dataset, ready to be cut into batches of segments.

    Texts are tokenised once. What comes before anything trained (in the paper's methods the whole
    way from a clip's steps to its one vector) is computed once a medium, the rest at every batch.

    Args:
        table: The examples.
        sources: One a modality, in the order of the fused sequence.
        plm: The frozen language model.
        fusion: The method and its variant; by default the paper's PromptFuse.
    """

    def __init__(
        self,
        table: ExampleTable,
        sources: Sequence[Source],
        plm: PLM,
        fusion: Fusion | None = None,
    ) -> None:
        self.table = table
        self.sources = list(sources)
        self.plm = plm
        self.fusion = fusion or Fusion.of("promptfuse")
        self.text_ids = plm.tokenise(table.texts)
        blank = self.fusion.method.media == "blank"
        self.keys = {
            source.modality: _row_keys(table, source, blank=blank) for source in self.sources
        }
        self.substituted = 0 if blank else _substituted(self.keys)
        self._once = {
            source.modality: self._pool_once(source)
            for source in self.sources
            if _frozen_pooling(source, self.fusion)
        }

    def __len__(self) -> int:
        return len(self.table)

    def segments(
        self, indices: Sequence[int] | np.ndarray, parameters: Parameters | None = None
    ) -> list[Segment]:
        """Return the input segments (media, then text) of the examples at `indices`.

        Args:
            indices: Of N = R * B examples, grouped by run.
            parameters: What is trained, each [R, …]; all but the prompt is used here.
        """
        parameters = parameters or {}
        texts = self.plm.pad([self.text_ids[index] for index in indices])
        if self.fusion.method.projection == "joint":
            tokens, media = self._token_vectors[texts.ids], self._mean_medium(indices)
            return [joint_segment(self.plm, texts, tokens, media, parameters)]
        text = Segment(self.plm.embed_text(texts.ids), texts.present, texts.answer_at)
        return [*(self._medium(source, indices, parameters) for source in self.sources), text]

    @cached_property
    def _token_vectors(self) -> torch.Tensor:
        return self.plm.token_vectors()

    def _medium(
        self, source: Source, indices: Sequence[int] | np.ndarray, parameters: Parameters
    ) -> Segment:
        if source.modality not in self._once:
            keys = [self.keys[source.modality][index] for index in indices]
            steps = read_segment(source, keys, self.plm, parameters)
            return medium_segment(self.plm, self.fusion, source.modality, steps, parameters)
        embed = SegmentEmbedding.of(self.plm, parameters, source.modality)
        pooled = self._pooled(source, indices)[:, None]
        if self.fusion.pool == "before-norm":
            pooled = embed(pooled)
        elif embed.norm is not None:
            pooled = run_scale(pooled, *embed.norm)
        return Segment.whole(pooled)

    def _mean_medium(self, indices: Sequence[int] | np.ndarray) -> torch.Tensor:
        """Return v [N, H] of `jointproj`: the plain mean over steps, then over modalities."""
        return torch.stack([self._pooled(one, indices) for one in self.sources]).mean(dim=0)

    def _pooled(self, source: Source, indices: Sequence[int] | np.ndarray) -> torch.Tensor:
        vectors, rows = self._once[source.modality]
        return vectors[rows[torch.as_tensor(np.asarray(indices))]]

    @torch.no_grad()  # not inference_mode: these vectors take part in training
    def _pool_once(self, source: Source) -> tuple[torch.Tensor, torch.Tensor]:
        """Return one vector a distinct medium, [media, H], and each example's row in it."""
        unique = sorted(set(self.keys[source.modality]))
        parts = [
            self._pool(read_segment(source, unique[start : start + _POOLING_ROWS], self.plm))
            for start in range(0, len(unique), _POOLING_ROWS)
        ]
        row = {key: index for index, key in enumerate(unique)}
        rows = torch.tensor([row[key] for key in self.keys[source.modality]], dtype=torch.long)
        return torch.cat(parts), rows

    def _pool(self, steps: Segment) -> torch.Tensor:
        if self.fusion.method.projection == "joint" or self.fusion.pool == "before-norm":
            return mean_over_steps(steps)
        # The mean of scaled and shifted steps is the scaled and shifted mean, so a trained norm's
        # scale and shift can come after it.
        embed = (
            partial(standardise, self.plm) if self.fusion.train_norms else self.plm.embed_segment
        )
        return mean_over_steps(Segment(embed(steps.vectors), steps.present))


def _frozen_pooling(source: Source, fusion: Fusion) -> bool:
    """Return whether a medium becomes one vector before anything trained touches it."""
    if source.encoder is not None:
        return False
    if fusion.method.projection == "joint":
        return True
    if not source.temporal or fusion.pool == "none":
        return False
    return fusion.pool == "before-norm" or fusion.method.projection == "none"


def join_tokens(tokens: torch.Tensor, media: torch.Tensor, parameters: Parameters) -> torch.Tensor:
    """Return [N, T, H]: each token joined with its example's media, [w_i ; v], and projected.

    Args:
        tokens: [N, T, H], token embeddings before positions and norm.
        media: [N, H].
        parameters: `projection.weight` [R, H, 2H] and `projection.bias` [R, H].

    Source: section 4.3, JointProj.
    """
    both = torch.cat([tokens, media[:, None].expand_as(tokens)], dim=2)
    return run_linear(both, parameters["projection.weight"], parameters["projection.bias"])


def read_segment(
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
    mapped = media if width is None else [one @ width.to(one) for one in media]
    steps = [fit_positions(one, plm.max_positions) for one in mapped]
    padded = torch.nn.utils.rnn.pad_sequence(steps, batch_first=True)
    counts = torch.tensor([len(one) for one in steps])
    present = torch.arange(padded.shape[1])[None] < counts[:, None]
    return Segment(padded, present.to(plm.device))


def medium_segment(
    plm: PLM, fusion: Fusion, modality: str, steps: Segment, parameters: Parameters
) -> Segment:
    """Return a modality's segment of the fused sequence from its raw vectors [N, L, H]."""
    embed = SegmentEmbedding.of(plm, parameters, modality)
    pool = fusion.pool if MODALITIES[modality].temporal else "none"
    if pool == "before-norm":
        return Segment.whole(embed(mean_over_steps(steps)[:, None]))
    embedded = Segment(embed(steps.vectors), steps.present)
    if pool == "after-norm":
        return Segment.whole(mean_over_steps(embedded)[:, None])
    return embedded


def joint_segment(
    plm: PLM, texts: TokenBatch, tokens: torch.Tensor, media: torch.Tensor, parameters: Parameters
) -> Segment:
    """Return `jointproj`'s only segment: texts whose tokens [N, T, H] are joined with media."""
    fused = join_tokens(tokens, media, parameters)
    return Segment(plm.embed_segment(fused), texts.present, texts.answer_at)


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
    source: Source, encoder: LiveEncoder, keys: Sequence[bytes], parameters: Parameters
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
        found = encode_live(encoder, source.features.read(unique, field.name), weights)
        of_key = dict(zip(unique, found, strict=True))
        rows += [of_key[key] for key in part]
    return torch.cat(rows), [len(one) for one in rows]


def fit_positions(steps: torch.Tensor, limit: int | None) -> torch.Tensor:
    """Return [L, H] as it is, or the means of consecutive equal windows that make it fit `limit`.

    Only the last window may have fewer steps. It depends on the medium alone, never on its batch.
    """
    if limit is None or len(steps) <= limit:
        return steps
    return torch.stack([one.mean(dim=0) for one in steps.split(-(-len(steps) // limit))])


def mean_over_steps(segment: Segment) -> torch.Tensor:
    """Return the mean of each row's vectors that are present, [N, H]."""
    weights = segment.present[..., None].to(segment.vectors.dtype)
    return (segment.vectors * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)


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
