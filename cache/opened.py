"""A cache folder as a library reads it: its datasets, their examples and their features."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path, PurePath

import numpy as np

from ..errors import CacheError, UnknownName
from .examples import DatasetInfo, ExampleTable, read_datasets, read_examples
from .keys import BLANK_KEY
from .modalities import find_modality
from .objects import store_at
from .places import place_of
from .store import FeatureSet, Packed, feature_sets


def open_cache(path: PurePath | str) -> "Cache":
    """Return the cache in a folder, or below a URL, to be read as NumPy arrays and not changed."""
    folder = place_of(path)
    if not (folder.is_dir() if isinstance(folder, Path) else store_at(folder).folders()):
        raise CacheError(f"{folder}: no such folder; make a cache there with: pfcli extract")
    return Cache(folder)


class Cache:
    """What a cache folder holds, as it was when it was first asked."""

    def __init__(self, path: PurePath) -> None:
        self.path = path

    def __repr__(self) -> str:
        return f"Cache({str(self.path)!r}, datasets={list(self.datasets)})"

    @cached_property
    def datasets(self) -> Mapping[str, DatasetInfo]:
        """What each dataset is, by name."""
        return {info.name: info for info in read_datasets(self.path)}

    @cached_property
    def feature_sets(self) -> tuple[FeatureSet, ...]:
        """All feature sets, by modality and fingerprint."""
        return tuple(feature_sets(self.path))

    def examples(self, dataset: str, split: str) -> ExampleTable:
        """Return a split's examples, column by column, over a memory map."""
        if dataset not in self.datasets:
            raise UnknownName("dataset", dataset, list(self.datasets))
        return read_examples(self.path, dataset, split)

    def features(self, modality: str, *, fingerprint: str = "") -> FeatureSet:
        """Return the one feature set of a modality, or of several the one that is named.

        A set may be named by the beginning of its fingerprint; sets of decoded media are taken
        only so.
        """
        find_modality(modality)
        held = [features for features in self.feature_sets if features.modality == modality]
        named = [features for features in held if features.manifest.is_called(fingerprint)]
        if not fingerprint:
            named = [features for features in named if not features.manifest.decoded]
        if len(named) != 1:
            listed = ", ".join(f.fingerprint for f in named or held) or "none"
            wanted = f" {fingerprint}" if fingerprint else ""
            raise CacheError(
                f"{self.path}: {len(named)} sets of {modality} features{wanted}; of {listed} name "
                "one by fingerprint="
            )
        return named[0]

    def read(
        self,
        examples: ExampleTable,
        modality: str,
        *,
        field: str | None = None,
        fingerprint: str = "",
    ) -> Packed:
        """Return the examples' features, end to end: `values [steps, *shape]`, `offsets [n + 1]`.

        Row i is `packed[i]`, `[steps, *shape]` in the stored dtype: one step of an image's vector,
        any number of a clip's. An example without a usable medium has a row of no steps. The field
        is by default the modality's usual one, the fingerprint as for `features`.
        """
        features = self.features(modality, fingerprint=fingerprint)
        field = field or find_modality(modality).default_field
        keys = examples.keys(modality)
        rows = features.find([BLANK_KEY if key is None else key for key in keys])
        usable = (rows >= 0) & np.array([key is not None for key in keys], dtype=bool)
        packed = features.read_rows(rows[usable], field)
        steps = np.zeros(len(keys), dtype=np.int64)
        steps[usable] = np.diff(packed.offsets)
        return Packed(values=packed.values, offsets=np.concatenate([[0], np.cumsum(steps)]))
