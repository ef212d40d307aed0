"""Which cached examples and feature sets a run works on; needs no language model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...cache.examples import DatasetInfo, ExampleTable, read_dataset
from ...cache.fingerprint import canonical_json
from ...cache.keys import BLANK_KEY
from ...cache.modalities import MODALITIES, in_order
from ...cache.store import FeatureSet, feature_sets
from ...errors import CacheError
from ..settings import InputChoice
from .folds import read_part


@dataclass(frozen=True)
class Selection:
    """A split of a dataset (or of one of its folds) and one feature set a modality.

    Attributes:
        info: The dataset.
        split: The split's name.
        table: Its examples.
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
        usable = np.ones(len(self.table), dtype=bool)
        for modality, features in self.features.items():
            usable &= has_row(features, self.table.keys(modality))
        return np.flatnonzero(usable)


def select(cache_root: Path, dataset: str, split: str, choice: InputChoice) -> Selection:
    """Return a split and the features that are asked for, by default all that the cache holds.

    Raises:
        CacheError: If the cache lacks the split, the folds or a modality; the message names the
            command.
        UnknownName: If the dataset has no such fold.
    """
    info = read_dataset(cache_root, dataset)
    table, draw = read_part(cache_root, info, split, choice.fold)
    keys = {
        modality: sorted({key for key in table.keys(modality) if key is not None})
        for modality in info.modalities
    }
    modalities = choice.modalities or covered_modalities(cache_root, info, keys, live=choice.live)
    if not modalities:
        kind = "decoded media, which finetune needs," if choice.live else "features"
        raise CacheError(
            f"the cache holds no {kind} of {dataset}; "
            f"run: {_command(info, info.modalities, live=choice.live)}"
        )
    for modality in modalities:
        if modality not in info.modalities:
            raise CacheError(f"{dataset} has no {modality}; it has: {', '.join(info.modalities)}")
    wanted = choice.features or {}
    features = {
        modality: choose_features(
            cache_root,
            info,
            modality,
            keys[modality],
            wanted=wanted.get(modality),
            field=(choice.fields or {}).get(modality),
            live=choice.live,
        )
        for modality in modalities
    }
    return Selection(info, split, table, features, choice, draw)


def choose_features(
    cache_root: Path,
    info: DatasetInfo,
    modality: str,
    keys: Sequence[bytes],
    *,
    wanted: str | None,
    field: str | None = None,
    live: bool = False,
) -> FeatureSet:
    """Return the one feature set of `modality` that covers `keys`.

    Of sets that differ in nothing but the fields they keep, any that has the field will do.

    Args:
        cache_root: The cache's folder.
        info: The dataset, for messages.
        modality: A name in `MODALITIES`.
        keys: The dataset's media.
        wanted: The beginning of a fingerprint, where several sets cover the keys.
        field: What is read of it; by default the modality's usual field.
        live: Choose among the sets of decoded media, not among encoders' outputs.

    Raises:
        CacheError: If no set covers the keys, if one does in part (extraction was interrupted),
            or if several do; the message names the command or option that helps.
    """
    sets = [
        found
        for found in _sets(cache_root, modality, live=live)
        if found.manifest.is_called(wanted or "")
    ]
    missing = {found.fingerprint: _missing(found, keys) for found in sets}
    whole = [found for found in sets if missing[found.fingerprint] == 0]
    if not live:
        whole = [
            one for one in whole if has_field(one, field or MODALITIES[modality].default_field)
        ] or whole
    if len({_made_by(one) for one in whole}) == 1:
        return whole[0]
    what = f"decoded {modality}" if live else f"{modality} features"
    command = _command(info, [modality], live=live)
    if whole:
        held = ", ".join(f"{one.fingerprint} ({one.manifest.identity.get('id')})" for one in whole)
        kind = f"sets of decoded {modality}" if live else f"{modality} feature sets"
        problem = f"several {kind} hold {info.name}: {held}"
        raise CacheError(f"{problem}; choose one with --features {modality}=FINGERPRINT")
    lacking = min((count for count in missing.values() if count < len(keys)), default=None)
    if lacking is None:
        raise CacheError(f"{cache_root} holds no {what} of {info.name}; run: {command}")
    raise CacheError(
        f"the {what} of {info.name} lack {lacking} of {len(keys)} media: "
        f"extraction has not finished; run it again: {command}"
    )


def has_field(features: FeatureSet, name: str) -> bool:
    """Return whether the rows of a feature set have a field of that name."""
    return name in [spec.name for spec in features.manifest.fields]


def _made_by(features: FeatureSet) -> str:
    """Return what made a feature set, whichever of the encoder's outputs it keeps."""
    identity = features.manifest.identity
    return canonical_json({name: value for name, value in identity.items() if name != "fields"})


def _sets(cache_root: Path, modality: str, *, live: bool) -> list[FeatureSet]:
    """Return the sets of decoded media, or those of encoders' outputs."""
    return [found for found in feature_sets(cache_root, modality) if found.manifest.decoded == live]


def _command(info: DatasetInfo, modalities: Sequence[str], *, live: bool) -> str:
    """Return the command that fills the cache with what is missing."""
    bare = len(modalities) == 1
    encoders = [
        f"--encoder {'' if bare else f'{name}='}{MODALITIES[name].decoded_field}"
        for name in modalities
        if live
    ]
    chosen = ["--modality", ",".join(modalities), *encoders]
    return " ".join(["pfcli extract", *chosen, "--dataset", info.name])


def covered_modalities(
    cache_root: Path, info: DatasetInfo, keys: dict[str, list[bytes]], *, live: bool = False
) -> list[str]:
    """Return the modalities of which the cache holds any feature, in the paper's order."""
    return [
        modality
        for modality in in_order(info.modalities)
        if any(
            _missing(found, keys[modality]) < len(keys[modality])
            for found in _sets(cache_root, modality, live=live)
        )
    ]


def _missing(features: FeatureSet, keys: Sequence[bytes]) -> int:
    """Return how many keys are neither rows nor recorded failures."""
    failed = {failure.key for failure in features.failures}
    held = has_row(features, keys)
    return sum(key not in failed for key, there in zip(keys, held, strict=True) if not there)


def has_row(features: FeatureSet, keys: Sequence[bytes | None]) -> np.ndarray:
    """Return for each key whether the set has a row of it, [n] bool; False for no key."""
    absent = np.array([key is None for key in keys], dtype=bool)
    return (features.find([key or BLANK_KEY for key in keys]) >= 0) & ~absent
