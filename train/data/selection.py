"""Which cached examples and feature sets a run works on; needs no language model.

A dataset's own cross-validation is part of it. An example's fold is the value of `fold` in its
meta: MUStARD's adapter draws five stratified ones, and a table can have a column of that name.
Each fold's train and test parts need no files of their own.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath

import numpy as np

from ...cache.examples import DatasetInfo, ExampleTable, read_dataset, read_examples
from ...cache.fingerprint import canonical_json
from ...cache.keys import unpack_keys
from ...cache.modalities import MODALITIES, in_order
from ...cache.rows import distinct_keys
from ...cache.store import FeatureSet, feature_sets
from ...errors import CacheError, RunError, UnknownName
from ..record import RunRecord
from ..settings import InputChoice

META = "fold"


@dataclass(frozen=True)
class Selection:
    """A split of a dataset (or of one of its folds) and one feature set a modality.

    Attributes:
        features: By modality, in the order of the fused sequence.
        choice: What was asked for.
        fold_draw: Names the assignment to folds, where a fold was asked for.
    """

    info: DatasetInfo
    split: str
    table: ExampleTable
    features: Mapping[str, FeatureSet]
    choice: InputChoice
    fold_draw: str | None = None

    def complete(self) -> np.ndarray:
        """Return the indices of the examples all of whose media have features, int64."""
        pairs = self.features.items()
        held = [has_row(features, self.table.packed_keys(modality)) for modality, features in pairs]
        return np.flatnonzero(np.all(held, axis=0))


def select(cache_root: PurePath, dataset: str, split: str, choice: InputChoice) -> Selection:
    """Return a split and the features that are asked for, by default all that the cache holds.

    Raises:
        CacheError: If the cache lacks the split, the folds or a modality; the message names the
            command.
        UnknownName: If the dataset has no such fold.
    """
    info = read_dataset(cache_root, dataset)
    table, draw = read_part(cache_root, info, split, choice.fold)
    keys = {name: distinct_keys(table.packed_keys(name)) for name in info.modalities}
    modalities = choice.modalities or [
        name
        for name in in_order(info.modalities)
        if any(
            _missing(held, keys[name]) < len(keys[name])
            for held in _sets(cache_root, name, live=choice.live)
        )
    ]
    if not modalities:
        kind = "decoded media, which finetune needs," if choice.live else "features"
        command = _command(info, info.modalities, live=choice.live)
        raise CacheError(f"the cache holds no {kind} of {dataset}; run: {command}")
    for name in modalities:
        if name not in info.modalities:
            raise CacheError(f"{dataset} has no {name}; it has: {', '.join(info.modalities)}")
    features = {
        name: choose_features(cache_root, info, name, keys[name], choice) for name in modalities
    }
    return Selection(info, split, table, features, choice, draw)


def choose_features(
    cache_root: PurePath,
    info: DatasetInfo,
    modality: str,
    keys: np.ndarray,
    choice: InputChoice,
) -> FeatureSet:
    """Return the one feature set of a modality that covers a dataset's keys and was asked for.

    The keys are [n, 32] uint8.

    Of sets that differ in nothing but the fields they keep, any that has the field will do.
    """
    wanted, live = choice.features.get(modality, ""), choice.live
    held_sets = _sets(cache_root, modality, live=live)
    sets = [held for held in held_sets if held.manifest.is_called(wanted)]
    if held_sets and not sets:
        raise UnknownName(
            f"{modality} features in {cache_root}", wanted, [held.fingerprint for held in held_sets]
        )
    missing = [_missing(held, keys) for held in sets]
    whole = [held for held, count in zip(sets, missing, strict=True) if not count]
    if not live:
        read = choice.fields.get(modality, MODALITIES[modality].default_field)
        whole = [held for held in whole if read in held.manifest.names] or whole
    made_by = [{**held.manifest.fingerprinted["identity"], "fields": None} for held in whole]
    if len(set(map(canonical_json, made_by))) == 1:
        return whole[0]
    if whole:
        kind = f"sets of decoded {modality}" if live else f"{modality} feature sets"
        names = [f"{held.fingerprint} ({held.manifest.identity.get('id')})" for held in whole]
        raise CacheError(
            f"several {kind} hold {info.name}: {', '.join(names)}; choose one with "
            f"--features {modality}=FINGERPRINT"
        )
    what = f"decoded {modality}" if live else f"{modality} features"
    command = _command(info, [modality], live=live)
    begun = [count for count in missing if count < len(keys)]
    if not begun:
        raise CacheError(f"{cache_root} holds no {what} of {info.name}; run: {command}")
    raise CacheError(
        f"the {what} of {info.name} lack {min(begun)} of {len(keys)} media: "
        f"extraction has not finished; run it again: {command}"
    )


def _sets(cache_root: PurePath, modality: str, *, live: bool) -> list[FeatureSet]:
    """Return the sets of decoded media, or those of encoders' outputs."""
    return [held for held in feature_sets(cache_root, modality) if held.manifest.decoded == live]


def _command(info: DatasetInfo, modalities: Sequence[str], *, live: bool) -> str:
    """Return the command that fills the cache with what is missing."""
    command = f"pfcli extract --modality {','.join(modalities)}"
    for name in modalities if live else ():
        of = f"{name}=" if len(modalities) > 1 else ""
        command += f" --encoder {of}{MODALITIES[name].decoded_field}"
    return f"{command} --dataset {info.name}"


def _missing(features: FeatureSet, keys: np.ndarray) -> int:
    """Return how many keys, [n, 32] uint8, are neither rows nor recorded failures."""
    failed = {failure.key for failure in features.failures}
    return sum(key not in failed for key in unpack_keys(keys[~has_row(features, keys)]))


def has_row(features: FeatureSet, keys: np.ndarray) -> np.ndarray:
    """Return for each key, [n, 32] uint8, whether the set has a row of it, which is not blank."""
    return (features.find(keys) >= 0) & keys.any(axis=1)


def read_part(
    cache_root: PurePath, info: DatasetInfo, split: str, fold: int | None
) -> tuple[ExampleTable, str | None]:
    """Return a split, or the part "train" or "test" of a fold and the name of the folds' draw."""
    if fold is None:
        return read_examples(cache_root, info.name, split), None
    if split not in ("train", "test"):
        raise CacheError(f"fold {fold} of {info.name} has the splits train and test, not {split!r}")
    splits = [read_examples(cache_root, info.name, name) for name in info.splits]
    table = ExampleTable.joined(splits)
    folds = table.meta(META)
    folded = sorted((name, of) for name, of in zip(table.ids, folds, strict=True) if of is not None)
    known = sorted({of for _, of in folded})
    if len(known) < 2:
        raise CacheError(
            f"the cache holds no folds of {info.name}: its examples name {len(known)} in their "
            f"{META!r}; mustard's are drawn by: pfcli extract --dataset {info.name}; a table can "
            f"have a column {META!r}"
        )
    if str(fold) not in known:
        raise UnknownName(f"fold of {info.name}", str(fold), known)
    times = Counter(table.ids)
    twice = next((name for name, _ in folded if times[name] > 1), None)
    if twice is not None:
        raise CacheError(
            f"{info.name} has the id {twice!r} in two splits; folds need ids of their own"
        )
    wanted = [of is not None and (of == str(fold)) == (split == "test") for of in folds]
    draw = hashlib.sha256(json.dumps(folded).encode()).hexdigest()[:12]
    return table.take(np.flatnonzero(wanted)), draw


def require_same_draw(record: RunRecord, draw: str | None) -> None:
    """Return if a run's folds are those of the cache, so that none of its tests was trained on."""
    if record.fold_draw != draw:
        raise RunError(
            f"run {record.name} was trained on folds of the draw {record.fold_draw}, and the cache "
            f"holds the draw {draw}: extract the dataset as it was, or train the run anew"
        )
