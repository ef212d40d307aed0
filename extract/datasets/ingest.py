"""Annotations → the cache's examples, and the unique media that encoders will see."""

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from pathlib import Path, PurePath

from tqdm import tqdm

from ...cache.checked import file_state
from ...cache.commits import Failure
from ...cache.examples import (
    DatasetInfo,
    Example,
    read_dataset,
    read_examples,
    write_examples,
)
from ...cache.keys import file_sha256, span_key
from ...cache.modalities import MODALITIES
from ...errors import (
    CacheError,
    DatasetMissing,
    MediumError,
    MediumMissing,
    MediumOutside,
    MediumUnreadable,
)
from ..media import Limits, Span, check_file
from .annotations import RawDataset

_ANY_SIZE = Limits(max_bytes=2**63)  # the decoder's limits are the encoder's affair
_HASHING_THREADS = 4


@dataclass(frozen=True)
class MediumRef:
    """A medium to encode.

    Attributes:
        key: The sha256 of its bytes and span.
        path: Where it lies.
        modalities: What is wanted of it; a clip with sound has both `video` and `audio`.
        span_seconds: The part `[start, end)` that is meant; None is the whole file.
        name: Its path as the annotations give it, the same on every machine.
        state: Of the file when it was hashed, as `file_state` gives it; None where not known.
    """

    key: bytes
    path: Path
    modalities: frozenset[str]
    span_seconds: Span | None = None
    name: str = ""
    state: tuple[int, int, int] | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Ingested:
    """A dataset whose media have been hashed.

    Attributes:
        info: As the cache has it.
        splits: Each split's examples, with the keys of those of their media that can be used.
        media: Unique, in the order in which the examples first name them.
        failures: Media that no encoder can be given: absent, outside the data folder, empty.
    """

    info: DatasetInfo
    splits: Mapping[str, list[Example]]
    media: list[MediumRef]
    failures: list[Failure]


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
    ingested = identify(raw, modalities=modalities, limit=limit)
    reason = MediumMissing.reason
    missing = [failure.path for failure in ingested.failures if failure.reason == reason]
    if missing and len(missing) == len(_paths(ingested.splits)):
        raise DatasetMissing(
            f"none of the {len(missing)} media that dataset {raw.info.name!r} names is below "
            f"{raw.root}; the first is {missing[0]}: is this the folder that holds them?"
        )
    held = None if limit is None else _whole_dataset(cache_root, ingested)
    if held is not None:
        return replace(ingested, info=held)
    write_examples(cache_root, ingested.info, ingested.splits, ingested.failures)
    return ingested


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
        list(tables[split].take(range(min(len(rows), len(tables[split]))))) == rows
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
    raw: RawDataset, *, modalities: Sequence[str] | None = None, limit: int | None = None
) -> Ingested:
    """Return a dataset's unique media, and its examples with the keys of theirs.

    Args:
        raw: What an adapter read.
        modalities: Of the media returned; all that the dataset has by default.
        limit: Examples kept of each split, in file order; all by default.
    """
    named = {split: examples[:limit] for split, examples in raw.splits.items()}
    files = _hash_all(raw.root, _paths(named))
    wanted = frozenset(raw.info.modalities if modalities is None else modalities)
    splits: dict[str, list[Example]] = {split: [] for split in named}
    media: dict[bytes, MediumRef] = {}
    for split, examples in named.items():
        for example in examples:
            uses = _uses(example, files)
            keys = {modality: ref.key for modality, ref in uses.items()}
            splits[split].append(replace(example, media=keys, span_seconds=None))
            for modality, ref in uses.items():
                if modality in wanted:
                    before = media.get(ref.key, ref)
                    media[ref.key] = replace(before, modalities=before.modalities | {modality})
    return Ingested(
        info=replace(raw.info, splits={split: len(examples) for split, examples in named.items()}),
        splits=splits,
        media=list(media.values()),
        failures=[failure for failure in files.values() if isinstance(failure, Failure)],
    )


def _paths(splits: Mapping[str, Sequence[Example]]) -> list[str]:
    examples = chain.from_iterable(splits.values())
    return list(dict.fromkeys(path for row in examples for path in row.paths.values()))


def _uses(example: Example, files: Mapping[str, MediumRef | Failure]) -> dict[str, MediumRef]:
    """Return an example's usable media by modality; a still picture has no span."""
    uses: dict[str, MediumRef] = {}
    for modality, path in example.paths.items():
        if isinstance(file := files[path], MediumRef):
            span = example.span_seconds if MODALITIES[modality].temporal else None
            key = file.key if span is None else span_key(file.key, span)
            uses[modality] = replace(file, key=key, span_seconds=span)
    return uses


def _hash_all(root: Path, paths: Sequence[str]) -> dict[str, MediumRef | Failure]:
    with ThreadPoolExecutor(_HASHING_THREADS) as pool:
        results = pool.map(partial(_hash, root, os.path.realpath(root)), paths)
        bar = tqdm(results, total=len(paths), desc="hash media", unit="file", disable=None)
        return dict(zip(paths, bar, strict=True))


def _hash(root: Path, real_root: str, relative: str) -> MediumRef | Failure:
    try:
        path = path_within(root, relative, real_root=real_root)
        check_file(path, limits=_ANY_SIZE)
        state = file_state(path)
        return MediumRef(file_sha256(path), path, frozenset(), name=relative, state=state)
    except MediumError as error:
        message = str(error).removeprefix(f"{root / relative}: ")
        return Failure(key=None, path=relative, reason=error.reason, message=message)
    except OSError as error:
        message = f"cannot be read: {error.strerror}"
        return Failure(None, relative, MediumUnreadable.reason, message)


def path_within(root: Path, relative: str, *, real_root: str | None = None) -> Path:
    """Return a medium's path, known to lie in the data folder, links followed.

    `real_root` is the folder with its links followed, where that is known.
    """
    path = root / relative
    real_root = real_root or os.path.realpath(root)
    try:
        real = os.path.realpath(path)
    except ValueError as error:  # a NUL byte in the name
        raise MediumMissing(f"{path}: {error}") from error
    if os.path.commonpath([real, real_root]) != real_root:
        raise MediumOutside(
            f"{path}: leads outside the data folder; move or copy it into the folder"
        )
    return path
