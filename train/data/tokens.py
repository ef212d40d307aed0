"""Texts as token ids, end to end; those of a large split are kept beside its examples.

What is kept names the examples and all that tokenises them. Where it is absent, damaged or cannot
be written, texts are tokenised as if nothing were kept.
"""

import hashlib
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from itertools import chain
from typing import Self

import numpy as np
import pyarrow as pa

from ...cache.example_table import ExampleTable, SplitFile
from ...cache.fingerprint import canonical_json
from ...cache.objects import Folder
from ...cache.sealed import sealed_bytes, unsealed_bytes
from ...errors import CacheError
from ..plm.frozen import PLM

_KEPT_FROM = 20_000  # texts, which take a second to tokenise
_DIGITS = 16
_PREFIX = ".tokens"


@dataclass(frozen=True)
class Ids:
    """Texts' token ids.

    Attributes:
        values: Of all texts, int32.
        offsets: Where each text's begin and the last one's end, int64.
        places: Which text each example has, [n]; None: the first has the first, and so on.
    """

    values: np.ndarray
    offsets: np.ndarray
    places: np.ndarray | None = None

    @classmethod
    def of(cls, texts: Iterable[Sequence[int]], places: np.ndarray | None = None) -> Self:
        """Return the ids of texts that were tokenised."""
        held = list(texts)
        offsets = np.zeros(len(held) + 1, dtype=np.int64)
        np.cumsum([len(ids) for ids in held], out=offsets[1:])
        values = np.fromiter(chain.from_iterable(held), dtype=np.int32, count=int(offsets[-1]))
        return cls(values, offsets, places)

    def __len__(self) -> int:
        return len(self.offsets) - 1 if self.places is None else len(self.places)

    def __getitem__(self, index: int) -> np.ndarray:
        place = index if self.places is None else self.places[index]
        return self.values[self.offsets[place] : self.offsets[place + 1]]


def text_ids(table: ExampleTable, plm: PLM) -> Ids:
    """Return the ids of examples' texts as a language model takes them."""
    file, tokenizer = table.file, plm.identity.get("tokenizer_sha256")
    if file is None or tokenizer is None or len(table) < _KEPT_FROM:
        return _tokenised(table, plm)
    name = _name(file, plm)
    kept = _read(file, name)
    if kept is None and 2 * len(table) < len(table.whole):
        return _tokenised(table, plm)
    if kept is None:
        kept = _tokenised(table.whole, plm)
        _keep(file, name, kept)
    return Ids(kept.values, kept.offsets, table.places)


def _tokenised(table: ExampleTable, plm: PLM) -> Ids:
    parts = [Ids.of(plm.tokenise(part.to_pylist())) for part in table.column("text").chunks]
    ends = np.cumsum([0, *(len(part.values) for part in parts)])
    starts = [part.offsets[:-1] + end for part, end in zip(parts, ends, strict=False)]
    values = np.concatenate([part.values for part in parts] or [np.empty(0, np.int32)])
    return Ids(values, np.concatenate([*starts, ends[-1:]]))


def _name(file: SplitFile, plm: PLM) -> str:
    """Return the name of the file in which a split's ids are kept."""
    identity = {name: plm.identity.get(name) for name in ("family", "tokenizer_sha256")}
    libraries = {name: version(name) for name in ("promptfuse", "transformers", "tokenizers")}
    decides = {**identity, **libraries, "max_positions": plm.max_positions}
    digest = hashlib.sha256(canonical_json(decides).encode()).hexdigest()
    return f"{_PREFIX}-{file.split}-{file.sha256[:_DIGITS]}-{digest[:_DIGITS]}.arrow"


def _read(file: SplitFile, name: str) -> Ids | None:
    with suppress(CacheError, pa.ArrowException, KeyError):
        data = unsealed_bytes(Folder(file.folder).get(name))
        if data is not None:
            column = pa.ipc.open_stream(data).read_all()["ids"].combine_chunks()
            return Ids(column.values.to_numpy(), column.offsets.to_numpy())
    return None


def _keep(file: SplitFile, name: str, ids: Ids) -> None:
    """Keep a split's ids, in place of those of examples that it had before."""
    batch = pa.record_batch({"ids": pa.LargeListArray.from_arrays(ids.offsets, ids.values)})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    own = f"{_PREFIX}-{file.split}-"
    with suppress(CacheError, OSError):  # a cache that may only be read
        Folder(file.folder).put(name, sealed_bytes(sink.getvalue().to_pybytes()))
        for held in file.folder.glob(f"{own}*.arrow"):
            examples = held.name.removeprefix(own).split("-")[0]
            if len(examples) == _DIGITS and examples != file.sha256[:_DIGITS]:
                held.unlink(missing_ok=True)
