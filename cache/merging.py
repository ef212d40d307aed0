"""Bringing caches together: the rows, failures and datasets of several in one."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path, PurePath

import numpy as np

from ..errors import CacheError
from .backends import Format
from .commits import standing_failures
from .example_table import DatasetInfo
from .examples import read_dataset, read_datasets, read_examples, read_failures, write_examples
from .keys import pack_keys
from .layout import check_shards
from .manifest import read_manifest, write_manifest
from .places import place_of
from .rows import differing_row
from .store import FeatureSet, FeatureWriter, feature_sets

_COMPARED_ROWS = 256


@dataclass(frozen=True)
class Merged:
    """What came from one cache: `what` is a feature set or dataset, `count` its new rows or all."""

    source: PurePath
    what: str
    count: int
    failures: int = 0


def merge(
    sources: Sequence[PurePath | str], into: PurePath | str, *, datasets: bool = True
) -> list[Merged]:
    """Take into one cache what others hold and it does not; return what came.

    All are compared first: nothing is written unless they agree. An interrupted merge leaves a
    valid cache and goes on when it is run again.

    Args:
        sources: The caches to take from, which are not changed.
        into: The cache that grows; it is made where there is none.
        datasets: Whether examples are taken too.

    Raises:
        CacheError: If a source is no cache, is damaged or is given twice; if a row of a key, or the
            examples of a dataset's name, differ between two of them.
    """
    target, places = place_of(into), [place_of(source) for source in sources]
    _refuse_same([target, *places])
    held = {place: _sets_of(place) for place in (target, *places)}
    named = {place: {info.name: info for info in read_datasets(place)} for place in held}
    for place in places:
        if not held[place] and not named[place]:
            raise CacheError(
                f"{place}: no cache: it has neither feature sets nor datasets; name a folder or "
                "URL that pfcli extract wrote to"
            )
    _require_agreement(held)
    new = _new_datasets(held, named, target) if datasets else {}
    brought = [_take_set(place, own, target) for place in places for own in held[place]]
    return brought + [_take_dataset(place, name, target) for name, place in new.items()]


def _refuse_same(places: Iterable[PurePath]) -> None:
    seen: dict[str, PurePath] = {}
    for place in places:
        where = str(place.resolve() if isinstance(place, Path) else place)
        if where in seen:
            raise CacheError(
                f"{place}: the same cache as {seen[where]}; name each once, and as --cache another"
            )
        seen[where] = place


def _sets_of(place: PurePath) -> list[FeatureSet]:
    """Return a cache's feature sets, known to be whole."""
    damaged: dict[PurePath, CacheError] = {}
    held = feature_sets(place, damaged=damaged)
    for path, error in damaged.items():
        raise CacheError(f"{path}: damaged, so {place} cannot be merged: {error}") from error
    for own in held:
        check_shards(own.path, own.shard_commits)
    return held


def _require_agreement(held: dict[PurePath, list[FeatureSet]]) -> None:
    every = [own for sets in held.values() for own in sets]
    for one, other in combinations(every, 2):
        if (one.modality, one.fingerprint) == (other.modality, other.fingerprint):
            key = first_difference(one, other)
            if key is not None:
                raise CacheError(
                    f"{one.modality} features {one.fingerprint}, key {key.hex()}: the row in "
                    f"{one.path} differs from that in {other.path}; nothing was merged. One of "
                    "them was made otherwise than its manifest says: delete that set, then "
                    "pfcli extract there"
                )


def first_difference(one: FeatureSet, other: FeatureSet) -> bytes | None:
    """Return the first key of which two sets have rows that are not the same, bit for bit."""
    theirs = np.flatnonzero((found := one.find(pack_keys(other.keys))) >= 0)
    ours = found[theirs]
    for start in range(0, len(theirs), _COMPARED_ROWS):
        part = slice(start, start + _COMPARED_ROWS)
        row = differing_row(one.take(ours[part]), other.take(theirs[part]))
        if row is not None:
            return other.keys[int(theirs[part][row])]
    return None


def _new_datasets(
    held: Iterable[PurePath], named: Mapping[PurePath, Mapping[str, DatasetInfo]], target: PurePath
) -> dict[str, PurePath]:
    """Return where to take each dataset from that the target lacks, all caches agreeing on it."""
    first: dict[str, PurePath] = {}
    for place in held:
        for name, info in named[place].items():
            there = first.setdefault(name, place)
            if there != place and not _same_examples(there, named[there][name], place, info):
                raise CacheError(
                    f"dataset {name!r}: its examples in {there} differ from those in {place}; "
                    "nothing was merged. Extract one of them under another name (pfcli extract "
                    "--dataset OTHER), or take features alone: pfcli merge --features-only"
                )
    return {name: place for name, place in first.items() if place != target}


def _same_examples(place: PurePath, info: DatasetInfo, other: PurePath, own: DatasetInfo) -> bool:
    return replace(info, schema_version=own.schema_version) == own and all(
        read_examples(place, info.name, split).holds_same(read_examples(other, own.name, split))
        for split in info.splits
    )


def _take_set(source: PurePath, own: FeatureSet, target: PurePath) -> Merged:
    standing = standing_failures(own.commits)
    rows, failures = 0, 0
    with FeatureWriter(target, own.manifest, format=_format_of(own)) as writer:
        with_row = set(writer.done) - set(writer.failures)
        for commit in own.commits:
            numbers = own.find(pack_keys(commit.keys))
            pairs = zip(commit.row_keys, numbers.tolist(), strict=True)
            new = {key: number for key, number in pairs if key not in with_row}
            failed = tuple(
                failure
                for failure in commit.failures
                if failure.key not in writer.done and standing.get(failure.key or b"") is failure
            )
            if new or failed:
                shard = own.take(np.array(list(new.values()))) if new else None
                writer.add(replace(commit, keys=b"".join(new), failures=failed), shard)
                with_row.update(new)
                rows, failures = rows + len(new), failures + len(failed)
    held = read_manifest(writer.path)
    if set(own.manifest.fingerprints) - set(held.fingerprints):
        write_manifest(writer.path, held.formerly(own.manifest.fingerprints[1:]))
    return Merged(source, f"{own.modality}/{own.fingerprint}", rows, failures)


def _format_of(own: FeatureSet) -> Format:
    return "hdf5" if own.formats == ("hdf5",) else "arrow"


def _take_dataset(source: PurePath, name: str, target: PurePath) -> Merged:
    info = read_dataset(source, name)
    splits = {split: read_examples(source, name, split) for split in info.splits}
    write_examples(target, info, splits, read_failures(source, name))
    return Merged(source, f"dataset {name}", sum(info.splits.values()))
