"""Cached examples joined with their features, for any trainer: a dataset in torch's own sense."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset

from ..cache.examples import read_dataset
from ..cache.modalities import MODALITIES, in_order
from ..cache.opened import Cache
from .data.selection import select
from .settings import InputChoice

Item = dict[str, Any]
"""An example: `id`, `text`, `answer`, and by modality `[steps, H] float32`."""

_TEXTS = ("id", "text", "answer")


class FeatureDataset(Dataset[Item]):
    """The examples of a split all of whose media have features.

    An item is `{"id", "text", "answer", MODALITY: [steps, *shape] float32, …}`; `collate` makes a
    padded batch of items, to be given to a `DataLoader` as its `collate_fn`. It may be used by
    any number of worker processes.

    Args:
        cache: As `open_cache` gives it.
        dataset: Its name in the cache.
        split: Such as "train".
        modalities: What is joined, at least one; by default all that the dataset has.
        features: The beginning of a feature set's fingerprint by modality, where several serve.
        fields: The field by modality; by default each modality's usual one.
    """

    def __init__(
        self,
        cache: Cache,
        dataset: str,
        split: str,
        *,
        modalities: Sequence[str] | None = None,
        features: Mapping[str, str] | None = None,
        fields: Mapping[str, str] | None = None,
    ) -> None:
        info = read_dataset(cache.path, dataset)
        names = in_order(info.modalities if modalities is None else modalities)
        usual = {name: MODALITIES[name].default_field for name in names}
        self.fields = {name: (fields or {}).get(name, usual[name]) for name in names}
        choice = InputChoice(tuple(names), features or {}, self.fields)
        selection = select(cache.path, dataset, split, choice)
        self.info, self.features = info, selection.features
        self.examples = selection.table.take(selection.complete())
        self._keys = {name: self.examples.keys(name) for name in self.features}

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> Item:
        if not -len(self) <= index < len(self):
            raise IndexError(f"example {index} of {len(self)}")
        rows = self.examples
        texts = (rows.ids[index], rows.texts[index], rows.answers[index])
        item: Item = dict(zip(_TEXTS, texts, strict=True))
        for name, features in self.features.items():
            packed = features.read([self._keys[name][index] or b""], self.fields[name])
            item[name] = torch.from_numpy(packed[0].astype(np.float32))
        return item

    def collate(self, items: Sequence[Item]) -> dict[str, Any]:
        """Return a batch: lists of texts, and by modality padded features with their lengths.

        Returns:
            `id`, `text` and `answer` as lists; for each modality `[B, most steps, *shape] float32`
            with zeros behind a row's end, and under `MODALITY_steps` the rows' steps `[B] int64`.
        """
        batch: dict[str, Any] = {name: [item[name] for item in items] for name in _TEXTS}
        for name in self.features:
            batch[name] = pad_sequence([item[name] for item in items], batch_first=True)
            batch[f"{name}_steps"] = torch.tensor([len(item[name]) for item in items])
        return batch
