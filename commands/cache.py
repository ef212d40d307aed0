"""`pfcli inspect`, `pfcli verify` and `pfcli convert`: looking after a cache."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import PurePath
from typing import TypeVar

from tqdm import tqdm

from ..cache.backends import Format
from ..cache.convert import convert
from ..cache.store import FeatureSet, feature_sets
from ..cache.summary import DatasetSummary, count_reasons, summarise
from ..cache.verify import dataset_folders, feature_folders, repair, verify, verify_examples
from ..errors import CacheError
from ..library.to_type import command
from ..library.workspace import Workspace
from ..tables import Cell, Table

Result = TypeVar("Result")


def run_inspect(workspace: Workspace) -> None:
    """Print what the cache holds."""
    root, summary = workspace.cache, summarise(workspace.cache)
    datasets, sets = summary.datasets, summary.feature_sets
    if not datasets and not sets:
        first = command(workspace, "extract", "--modality", "all")
        raise CacheError(f"{root} holds nothing; run first: {first}")
    print(_datasets_table(datasets).text(), end="\n\n")
    if sets:
        print(_features_table(sets).text(), end="\n\n")
        print(_fields_table(sets).text())
    named = ["--dataset", datasets[0].info.name] if datasets else []
    print(f"next: {command(workspace, 'train' if sets else 'extract', *named)}")


def _datasets_table(datasets: Sequence[DatasetSummary]) -> Table:
    """Return one row a split: its examples and how many have features, by modality."""
    modalities = sorted({name for dataset in datasets for name in dataset.info.modalities})
    rows: list[list[Cell]] = []
    for dataset in datasets:
        info, refused = dataset.info, sum(dataset.failures.values())
        for split, coverages in dataset.splits.items():
            best = [
                max((c.examples_covered for c in coverages if c.modality == name), default=None)
                for name in modalities
            ]
            rows.append([info.name, info.task, split, info.splits[split], *best, refused])
    columns = ["dataset", "task", "split", "examples", *modalities, "media refused"]
    return Table("examples, and those with features", columns, rows)


def _features_table(sets: Sequence[FeatureSet]) -> Table:
    rows: list[list[Cell]] = []
    for features in sets:
        named = [features.modality, features.fingerprint, features.encoder]
        counts = [len(features), len(features.shard_commits)]
        written = ["+".join(features.formats), f"{features.size_bytes:,} B"]
        failures = [f"{n} {reason}" for reason, n in count_reasons(features.failures).items()]
        rows.append([*named, *counts, *written, ", ".join(failures) or "0"])
    columns = ["modality", "fingerprint", "encoder", "rows", "shards", "format", "on disk"]
    return Table("feature sets (rows count the blank one)", [*columns, "failures"], rows)


def _fields_table(sets: Sequence[FeatureSet]) -> Table:
    """Return one row a field: vectors × bytes a vector = bytes."""
    rows: list[list[Cell]] = []
    for features in sets:
        for spec in features.manifest.fields:
            extents = [*["steps"] * spec.ragged, *map(str, spec.shape)]
            named = [features.modality, features.fingerprint, spec.name, f"[{', '.join(extents)}]"]
            vectors, each = features.count_steps(spec.name), spec.step_bytes
            sizes = [f"{number:,}" for number in (vectors, each, vectors * each)]
            rows.append([*named, spec.dtype, *sizes])
    columns = ["modality", "fingerprint", "field", "a row", "dtype"]
    return Table("fields", [*columns, "vectors", "bytes each", "bytes"], rows)


def run_verify(workspace: Workspace, *, mend: bool) -> bool:
    """Rehash every file of the cache and print what is wrong; return whether all was well.

    To `mend` is to make lost commits again, and to give up what is damaged, so that the next
    extraction makes it anew.
    """
    cache_root = workspace.cache
    sets, datasets = feature_folders(cache_root), dataset_folders(cache_root)
    if not sets and not datasets:
        raise CacheError(
            f"{cache_root} holds nothing to verify; run first: {command(workspace, 'extract')}"
        )
    checks = [(place(path), verify_examples(cache_root, path.name)) for path in datasets]
    checks += [(place(path), with_bar(path, "verify", verify)) for path in sets]
    files = [(where, file) for where, checked in checks for file in checked]
    bad = [(where, file) for where, file in files if not file.ok]
    for where, file in bad:
        reason = file.reason.partition(f"{file.file}: ")[2] or file.reason
        print(f"damaged: {where}/{file.file}: {reason}")
    print(f"{len(files)} files checked, {len(bad)} damaged")
    for path in sets if mend else []:
        for line in repair(path):
            print(f"{place(path)}: {line}")
    if bad:
        again = command(workspace, "extract")
        print(
            f"what was given up comes back with: {again}"
            if mend
            else f"to mend it: {command(workspace, 'verify', '--repair')}, then {again}"
        )
    return not bad


def run_convert(workspace: Workspace, shard_format: Format) -> None:
    """Rewrite every feature set's shards in one format, losing nothing."""
    for features in held_sets(workspace, to="convert"):
        shards = with_bar(features.path, "convert", partial(convert, format=shard_format))
        print(f"{place(features.path)}: {shards} shards rewritten as {shard_format}")
    print(f"next: {command(workspace, 'verify')}")


def held_sets(workspace: Workspace, *, to: str) -> list[FeatureSet]:
    """Return the cache's feature sets, of which there has to be one; `to` says what for."""
    sets = feature_sets(workspace.cache)
    if not sets:
        raise CacheError(
            f"{workspace.cache} holds no features to {to}; "
            f"run first: {command(workspace, 'extract', '--modality', 'all')}"
        )
    return sets


def place(path: PurePath) -> str:
    """Return how a feature set's or dataset's folder is named to people."""
    return f"{path.parent.name}/{path.name}"


def with_bar(path: PurePath, doing: str, action: Callable[..., Result]) -> Result:
    """Return `action(path, progress=…)`, its progress shown as a bar of shards."""
    with tqdm(desc=f"{doing} {place(path)}", unit="shard", disable=None) as bar:

        def report(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        return action(path, progress=report)
