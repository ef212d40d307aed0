"""Rows of cached features as vectors for a language model: read now, or in advance."""

import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import TypeVar

import numpy as np
import torch

from ...threads import undivided_work
from ..fusion.parameters import Parameters, encoder_weights
from ..live import TrainableEncoder, encode_live
from ..plm.frozen import PLM, Segment
from .sources import Source, fit_positions, padded_steps

Made = TypeVar("Made")

Loaded = Callable[[], Segment]
"""What makes a batch [N, L, H] on the language model's device, once its rows are in memory."""

_PAGES_COUNT = 8  # times less in what is read ahead than what is copied

with warnings.catch_warnings():  # said once a process: that a map is read here, and never written
    warnings.simplefilter("ignore")
    torch.from_numpy(np.frombuffer(b"\0", dtype=np.uint8))


def load(source: Source, plm: PLM, batches: Sequence[np.ndarray]) -> list[Loaded]:
    """Return batches of rows by number, read in advance.

    Rows of one length are gathered together. Of others the pages are brought into memory, from
    which they go straight to their places in a batch.
    """
    if _of_one_length(source, plm):
        return _gathered(source, plm, batches)
    source.features.prefetch(np.concatenate(batches), source.field)
    return [partial(_padded, source, plm, rows) for rows in batches]


def _of_one_length(source: Source, plm: PLM) -> bool:
    """Return whether all rows have the same number of steps, and fit the language model so."""
    spec = source.features.manifest.field(source.field)
    return not spec.ragged and (plm.max_positions or math.inf) >= math.prod(spec.shape[:-1])


def _gathered(source: Source, plm: PLM, batches: Sequence[np.ndarray]) -> list[Loaded]:
    values = source.features.read_rows(np.concatenate(batches), source.field).values
    vectors = torch.from_numpy(values).view(len(values), -1, values.shape[-1])
    if plm.device.type == "cuda":
        vectors = vectors.pin_memory()
    parts = vectors.split([len(rows) for rows in batches])
    return [partial(_on_device, source, plm, part) for part in parts]


def _on_device(source: Source, plm: PLM, vectors: torch.Tensor) -> Segment:
    """Return [N, L, W] of the host as the language model's own numbers and width, [N, L, H]."""
    vectors = vectors.to(plm.device, non_blocking=True).to(plm.dtype)
    return Segment.whole(vectors if source.width is None else vectors @ source.width.to(vectors))


def _padded(source: Source, plm: PLM, rows: np.ndarray) -> Segment:
    """Return rows that go straight from the cache's maps to their places, [N, L, H].

    A sequence of more steps than the language model has positions is averaged in equal windows,
    the fewest steps a window that make it fit (20.48 s of wav2vec2 vectors fill BART's 1,024).
    """
    features, field, limit = source.features, source.field, plm.max_positions
    shape = features.manifest.field(field).shape
    lengths = features.lengths(rows, field) * math.prod(shape[:-1])
    fitted = lengths if limit is None else -(-lengths // np.maximum(1, -(-lengths // limit)))
    most, pinned, ends = int(fitted.max(initial=0)), plm.device.type == "cuda", fitted.tolist()
    vectors = torch.empty(len(rows), most, shape[-1], dtype=plm.dtype, pin_memory=pinned)
    for at, steps in features.views(rows, field):
        row, end = vectors[at], ends[at]
        held = torch.from_numpy(steps).reshape(-1, shape[-1])
        row[:end] = held if len(held) == end else fit_positions(held.to(plm.dtype), limit)
        row[end:] = 0
    segment = _on_device(source, plm, vectors)
    there = torch.from_numpy(np.arange(most) < fitted[:, None])
    return replace(segment, present=there.to(plm.device))


def read_steps(
    source: Source, rows: np.ndarray, plm: PLM, parameters: Parameters | None = None
) -> Segment:
    """Return the vectors of rows by number in the language model's width, padded: [N, L, H].

    The rows are grouped by run; an encoder that runs live takes its weights, each [R, …], from the
    parameters, or runs as it was pretrained.
    """
    if source.encoder is None:
        one_length = _of_one_length(source, plm)
        return _gathered(source, plm, [rows])[0]() if one_length else _padded(source, plm, rows)
    media = _live_vectors(source, source.encoder, rows, parameters or {})
    return padded_steps([one.to(plm.device, plm.dtype) for one in media], plm, width=source.width)


def _live_vectors(
    source: Source, encoder: TrainableEncoder, rows: np.ndarray, parameters: Parameters
) -> list[torch.Tensor]:
    """Return each row's vectors [steps, width], each run's rows through its own encoder.

    A medium that comes twice in a run's part of the batch is encoded once.
    """
    (field,) = source.features.manifest.fields
    runs = len(parameters["prompt"]) if "prompt" in parameters else 1
    media: list[torch.Tensor] = []
    for run, part in enumerate(np.split(rows, runs)):
        unique = list(dict.fromkeys(part.tolist()))
        weights = encoder_weights(parameters, source.modality, run)
        packed = source.features.read_rows(np.array(unique), field.name)
        of_row = dict(zip(unique, encode_live(encoder, packed, weights), strict=True))
        media += [of_row[row] for row in part.tolist()]
    return media


def row_bytes(source: Source, plm: PLM) -> float:
    """Return the bytes of a row's vectors in the language model, of ragged ones about the mean."""
    features, spec = source.features, source.features.manifest.field(source.field)
    steps = math.prod(spec.shape[:-1])
    if spec.ragged:  # what other fields take besides counts as this one's: their lengths are alike
        steps *= features.size_bytes / max(1, len(features)) / spec.step_bytes
    return min(steps, plm.max_positions or steps) * plm.hidden_size * plm.dtype.itemsize


def ahead_bytes(source: Source, plm: PLM) -> float:
    """Return what a row counts that is read in advance: only those of one length are copied."""
    return row_bytes(source, plm) / (1 if _of_one_length(source, plm) else _PAGES_COUNT)


def grouped(batches: Iterable[np.ndarray], most: int) -> Iterator[list[np.ndarray]]:
    """Yield batches in groups of about `most` rows; the first is alone, so that it comes soon."""
    group: list[np.ndarray] = []
    count = enough = 0
    for batch in batches:
        group.append(batch)
        count += len(batch)
        if count >= enough:
            yield group
            group, count, enough = [], 0, min(2 * count, most)
    if group:
        yield group


def in_advance(made: Iterator[Made]) -> Iterator[Made]:
    """Yield what an iterator makes, each made by a thread while the one before is used."""
    with undivided_work() as undivided, ThreadPoolExecutor(1, initializer=undivided) as thread:
        coming = thread.submit(next, made, None)
        while (item := coming.result()) is not None:
            coming = thread.submit(next, made, None)
            yield item
