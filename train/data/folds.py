"""A dataset's own cross-validation: each fold's train and test parts, drawn when it was extracted.

An example's fold is the value of `fold` in its meta: MUStARD's adapter draws five stratified ones,
and a table can have a column of that name. The parts need no files of their own.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ...cache.examples import DatasetInfo, ExampleTable, read_examples
from ...errors import CacheError, RunError, UnknownName
from ..record import RunRecord

META = "fold"


def read_part(
    cache_root: Path, info: DatasetInfo, split: str, fold: int | None
) -> tuple[ExampleTable, str | None]:
    """Return a split, or the part "train" or "test" of a fold and the name of the folds' draw.

    Raises:
        CacheError: If the cache lacks the split, or the dataset has no folds.
        UnknownName: If there is no such fold.
    """
    if fold is None:
        return read_examples(cache_root, info.name, split), None
    if split not in ("train", "test"):
        raise CacheError(f"fold {fold} of {info.name} has the splits train and test, not {split!r}")
    tables = [read_examples(cache_root, info.name, name) for name in info.splits]
    table = ExampleTable.joined(tables)
    folds = table.meta(META)
    known = sorted({one for one in folds if one is not None})
    if len(known) < 2:
        raise CacheError(
            f"the cache holds no folds of {info.name}: its examples name {len(known)} in their "
            f"{META!r}; mustard's are drawn by: pfcli extract --dataset {info.name}; a table can "
            f"have a column {META!r}"
        )
    if str(fold) not in known:
        raise UnknownName(f"fold of {info.name}", str(fold), known)
    _require_distinct(info, table.ids, folds)
    wanted = [one is not None and (one == str(fold)) == (split == "test") for one in folds]
    return table.take(np.flatnonzero(wanted)), _draw(table.ids, folds)


def _require_distinct(info: DatasetInfo, ids: Sequence[str], folds: Sequence[str | None]) -> None:
    seen: set[str] = set()
    for name, fold in zip(ids, folds, strict=True):
        if fold is not None and name in seen:
            raise CacheError(
                f"{info.name} has the id {name!r} in two splits; folds need ids of their own"
            )
        seen.add(name)


def _draw(ids: Sequence[str], folds: Sequence[str | None]) -> str:
    pairs = sorted((name, fold) for name, fold in zip(ids, folds, strict=True) if fold is not None)
    return hashlib.sha256(json.dumps(pairs).encode()).hexdigest()[:12]


def require_same_draw(record: RunRecord, draw: str | None) -> None:
    """Return if a run's folds are those of the cache, so that none of its tests was trained on.

    Raises:
        RunError: If the dataset was extracted anew with other folds or other examples.
    """
    if record.fold_draw != draw:
        raise RunError(
            f"run {record.name} was trained on folds of the draw {record.fold_draw}, and the cache "
            f"holds the draw {draw}: extract the dataset as it was, or train the run anew"
        )
