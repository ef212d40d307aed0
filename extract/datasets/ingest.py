"""Annotations → the cache's examples, and the unique media that encoders will see."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePath

import pyarrow as pa

from ...cache.commits import Failure
from ...cache.example_batches import path_column, with_keys
from ...cache.example_table import ExampleTable
from ...cache.examples import (
    DatasetInfo,
    Example,
    read_dataset,
    read_examples,
    read_failures,
    write_examples,
)
from ...cache.keys import span_key
from ...cache.modalities import MODALITIES
from ...errors import CacheError, DatasetMissing, MediumMissing
from .annotations import RawDataset
from .collector import no_collection
from .media_files import MediumFile, MediumRef, hash_files, still_fails
from .memo import Origin, read_memo, remember
from .spool import SPAN_COLUMNS, raw_batches

_ALONE = {modality: frozenset({modality}) for modality in MODALITIES}

#: What an example uses: a path or None by modality, then the span's start and end or None.
Use = tuple[str | float | None, ...]


@dataclass(frozen=True)
class KeyedExamples:
    """A split's examples with the keys of their media, put together as they are read.

    `keys` are by modality, of each use that an example makes of media; `limit` is how many of the
    raw examples count.
    """

    raw: Sequence[Example]
    info: DatasetInfo
    keys: Mapping[Use, Sequence[bytes | None]]
    limit: int | None = None

    def __len__(self) -> int:
        return min(len(self.raw), len(self.raw) if self.limit is None else self.limit)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the examples as they lie on disk."""
        for batch, uses in _uses(self.raw, self.info, self.limit):
            columns = dict(zip(batch.schema.names, batch.columns, strict=True))
            keys = list(zip(*map(self.keys.__getitem__, uses), strict=True))
            yield with_keys(columns, self.info.modalities, keys)

    def __iter__(self) -> Iterator[Example]:
        for batch in self.batches():
            yield from ExampleTable(pa.Table.from_batches([batch]))


@dataclass(frozen=True)
class Ingested:
    """A dataset whose media have been hashed.

    Attributes:
        info: As the cache has it.
        media: Unique, in the order in which the examples first name them.
        failures: Media that no encoder can be given: absent, outside the data folder, empty.
        splits: Each split's examples, with the keys of those of their media that can be used; none
            where the cache's were known to be the same.
        files: Those that can be used, by name.
    """

    info: DatasetInfo
    media: list[MediumRef]
    failures: list[Failure]
    splits: Mapping[str, KeyedExamples] = field(default_factory=dict, compare=False)
    files: Mapping[str, MediumFile] = field(default_factory=dict, compare=False)

    def of(self, modalities: Sequence[str]) -> "Ingested":
        """Return it with the media that some of the dataset's modalities need, for these alone."""
        wanted = frozenset(modalities)
        return replace(
            self,
            media=[
                ref
                if ref.modalities <= wanted
                else replace(ref, modalities=ref.modalities & wanted)
                for ref in self.media
                if ref.modalities & wanted
            ],
        )


@no_collection()
def ingest(
    raw: RawDataset,
    cache_root: PurePath,
    *,
    modalities: Sequence[str] | None = None,
    limit: int | None = None,
) -> Ingested:
    """Return what `identify` does, its examples having been written to the cache.

    Examples carry the keys of all their media, whichever modalities are encoded now, so that
    another modality can be extracted later. A cache that holds more examples of the dataset keeps
    them all: a limit is for the media to encode.

    Raises:
        DatasetMissing: If none of its media is there.
        CacheError: If the limited examples would replace more examples of other data.
    """
    known = read_memo(cache_root, raw.info.name, raw.root)
    ingested = identify(raw, limit=limit, known=known and known.files(raw.root))
    reason = MediumMissing.reason
    missing = [failure.path for failure in ingested.failures if failure.reason == reason]
    if missing and not ingested.media and len(missing) == len(ingested.failures):
        raise DatasetMissing(
            f"none of the {len(missing)} media that dataset {raw.info.name!r} names is below "
            f"{raw.root}; the first is {missing[0]}: is this the folder that holds them?"
        )
    wanted = ingested.of(raw.info.modalities if modalities is None else modalities)
    held = None if limit is None else _whole_dataset(cache_root, ingested)
    if held is not None:
        return replace(wanted, info=held)
    written = write_examples(cache_root, ingested.info, ingested.splits, ingested.failures)
    if limit is None and raw.origin is not None:
        remember(cache_root, raw.info.name, raw.origin, written, ingested.media, ingested.files)
    return wanted


@no_collection()
def recall(cache_root: PurePath, dataset: str, origin: Origin) -> Ingested | None:
    """Return what `ingest` would, where neither annotations, media nor examples have changed.

    No medium is read; those that could not be used are looked at again.
    """
    memo = read_memo(cache_root, dataset, origin.root)
    if memo is None or not memo.is_of(cache_root, dataset, origin):
        return None
    if not memo.unchanged(origin.root):
        return None
    try:
        info, failures = read_dataset(cache_root, dataset), read_failures(cache_root, dataset)
        for split in info.splits:
            read_examples(cache_root, dataset, split)  # which checks them
    except CacheError:  # they are written anew
        return None
    if not all(still_fails(origin.root, failure) for failure in failures):
        return None
    return Ingested(info, memo.media(origin.root), failures)


def _whole_dataset(cache_root: PurePath, ingested: Ingested) -> DatasetInfo | None:
    """Return the dataset of which a cache holds these examples and more, if it does."""
    info = ingested.info
    try:
        held = read_dataset(cache_root, info.name)
        tables = {split: read_examples(cache_root, info.name, split) for split in held.splits}
    except CacheError:  # there is none, or none that can be read: it is written anew
        return None
    if sum(held.splits.values()) <= sum(info.splits.values()):
        return None
    likened = replace(held, splits=info.splits, schema_version=info.schema_version)
    same = likened == info and all(
        list(tables[split].take(range(min(len(rows), len(tables[split]))))) == list(rows)
        for split, rows in ingested.splits.items()
        if split in tables
    )
    if not same or set(tables) != set(ingested.splits):
        raise CacheError(
            f"{cache_root} holds {sum(held.splits.values())} examples of {info.name!r} that do not "
            f"begin with these, and a limit would replace them: take another --dataset name "
            "or --cache, or no --limit"
        )
    return held


def identify(
    raw: RawDataset,
    *,
    limit: int | None = None,
    known: Mapping[str, MediumFile] | None = None,
) -> Ingested:
    """Return a dataset's unique media, and its examples with the keys of theirs.

    Args:
        raw: What an adapter read.
        limit: Examples kept of each split, in file order; all by default.
        known: Files that were hashed before, by name; those that did not change are not read.
    """
    distinct: dict[Use, None] = {}
    for examples in raw.splits.values():
        for _, uses in _uses(examples, raw.info, limit):
            distinct.update(dict.fromkeys(uses))
    named = dict.fromkeys(path for use in distinct for path in use[:-2] if path is not None)
    files = hash_files(raw.root, [str(path) for path in named], known or {})
    media: dict[bytes, MediumRef] = {}
    keys: dict[Use, Sequence[bytes | None]] = {}
    for use in distinct:
        refs = _refs(use, raw.info.modalities, files)
        keys[use] = [ref and ref.key for ref in refs]
        for ref in filter(None, refs):
            before = media.setdefault(ref.key, ref)
            if not ref.modalities <= before.modalities:
                media[ref.key] = replace(before, modalities=before.modalities | ref.modalities)
    splits = {
        split: KeyedExamples(examples, raw.info, keys, limit)
        for split, examples in raw.splits.items()
    }
    return Ingested(
        info=replace(raw.info, splits={split: len(examples) for split, examples in splits.items()}),
        media=list(media.values()),
        failures=[failure for failure in files.values() if isinstance(failure, Failure)],
        splits=splits,
        files={name: file for name, file in files.items() if isinstance(file, MediumFile)},
    )


def _uses(
    examples: Sequence[Example], info: DatasetInfo, limit: int | None
) -> Iterator[tuple[pa.RecordBatch, list[Use]]]:
    """Yield examples batch by batch, with what each uses."""
    columns = [*map(path_column, info.modalities), *SPAN_COLUMNS]
    left = len(examples) if limit is None else limit
    for whole in raw_batches(examples, f"dataset {info.name!r}"):
        batch = whole.slice(0, left)
        left -= batch.num_rows
        yield batch, list(zip(*(batch[name].to_pylist() for name in columns), strict=True))
        if left <= 0:
            break


def _refs(
    use: Use, modalities: Sequence[str], files: Mapping[str, MediumFile | Failure]
) -> list[MediumRef | None]:
    """Return the usable media by modality; a still picture has no span."""
    *paths, start, end = use
    refs: list[MediumRef | None] = []
    for modality, path in zip(modalities, paths, strict=True):
        file = files.get(str(path))
        if not isinstance(file, MediumFile):
            refs.append(None)
            continue
        temporal = end is not None and MODALITIES[modality].temporal
        span = (float(start or 0), float(end or 0)) if temporal else None
        key = file.sha256 if span is None else span_key(file.sha256, span)
        refs.append(MediumRef(key, file.path, _ALONE[modality], span, file.name, file.state))
    return refs
