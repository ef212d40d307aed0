"""`pfcli inspect`, `pfcli verify` and `pfcli convert`: looking after a cache."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

from tqdm import tqdm

from ..cache.backends import Format
from ..cache.convert import convert
from ..cache.examples import read_datasets
from ..cache.manifest import FieldSpec
from ..cache.store import FeatureSet, feature_sets
from ..cache.summary import CacheSummary, DatasetSummary, count_reasons, summarise
from ..cache.verify import feature_folders, repair, verify, verify_examples
from ..errors import CacheError
from ..library.to_type import command
from ..library.workspace import Workspace
from ..tables import Cell, Table

Result = TypeVar("Result")


def run_inspect(workspace: Workspace) -> CacheSummary:
    """Print what the cache holds; return it."""
    cache_root = workspace.cache
    summary = summarise(cache_root)
    if not summary.datasets and not summary.feature_sets:
        raise CacheError(f"{cache_root} holds nothing; run first: pfcli extract --modality all")
    print(datasets_table(summary.datasets).text(), end="\n\n")
    if summary.feature_sets:
        print(features_table(summary.feature_sets).text(), end="\n\n")
        print(fields_table(summary.feature_sets).text())
    name = summary.datasets[0].info.name if summary.datasets else None
    named = [] if name is None else ["--dataset", name]
    print(f"next: {command(workspace, 'train' if summary.feature_sets else 'extract', *named)}")
    return summary


def datasets_table(datasets: Sequence[DatasetSummary]) -> Table:
    """Return one row a split: its examples and how many have features, by modality."""
    modalities = sorted({name for dataset in datasets for name in dataset.info.modalities})
    rows: list[list[Cell]] = []
    for dataset in datasets:
        info = dataset.info
        for split, coverages in dataset.splits.items():
            best = [
                max((c.examples_covered for c in coverages if c.modality == name), default=None)
                for name in modalities
            ]
            refused = sum(dataset.failures.values())
            rows.append([info.name, info.task, split, info.splits[split], *best, refused])
    columns = ["dataset", "task", "split", "examples", *modalities, "media refused"]
    return Table("examples, and those with features", columns, rows)


def features_table(sets: Sequence[FeatureSet]) -> Table:
    """Return one row a feature set."""
    columns = ["modality", "fingerprint", "encoder", "rows", "shards", "format", "on disk"]
    rows: list[list[Cell]] = []
    for features in sets:
        failures = [f"{n} {reason}" for reason, n in count_reasons(features.failures).items()]
        named = [features.modality, features.fingerprint, features.encoder]
        counts = [len(features), len(features.shard_commits)]
        written = ["+".join(features.formats), f"{features.size_bytes:,} B"]
        rows.append([*named, *counts, *written, ", ".join(failures) or "0"])
    return Table("feature sets (rows count the blank one)", [*columns, "failures"], rows)


def fields_table(sets: Sequence[FeatureSet]) -> Table:
    """Return one row a field: vectors × bytes a vector = bytes."""
    columns = ["modality", "fingerprint", "field", "a row", "dtype"]
    rows: list[list[Cell]] = []
    for features in sets:
        for spec in features.manifest.fields:
            named = [features.modality, features.fingerprint, spec.name, _row_shape(spec)]
            vectors, each = features.count_steps(spec.name), spec.step_bytes
            sizes = [f"{number:,}" for number in (vectors, each, vectors * each)]
            rows.append([*named, spec.dtype, *sizes])
    return Table("fields", [*columns, "vectors", "bytes each", "bytes"], rows)


def _row_shape(spec: FieldSpec) -> str:
    extents = [*(["steps"] if spec.ragged else []), *map(str, spec.shape)]
    return f"[{', '.join(extents)}]"


def run_verify(cache_root: Path, *, mend: bool) -> bool:
    """Rehash every file of the cache and print what is wrong; return whether all was well.

    Args:
        cache_root: The cache's folder.
        mend: Give up damaged shards, so that the next extraction makes them anew.
    """
    sets = feature_folders(cache_root)
    datasets = read_datasets(cache_root)
    if not sets and not datasets:
        raise CacheError(f"{cache_root} holds nothing to verify; run first: pfcli extract")
    checks = [
        (f"examples/{info.name}", verify_examples(cache_root, info.name)) for info in datasets
    ]
    checks += [(_place(path), _with_bar(path, "verify", verify)) for path in sets]
    files = [(place, file) for place, checked in checks for file in checked]
    bad = [[place, file.file, file.reason] for place, file in files if not file.ok]
    if bad:
        print(Table("damaged", ["where", "file", "what is wrong"], bad).text())
    print(f"{len(files)} files checked, {len(bad)} damaged")
    for path in sets if mend else []:
        for line in repair(path):
            print(f"{_place(path)}: {line}")
    if bad:
        again = "run pfcli extract again" if mend else "pfcli verify --repair, then pfcli extract"
        print(f"to encode what was lost anew: {again}")
    return not bad


def run_convert(workspace: Workspace, shard_format: Format) -> None:
    """Rewrite every feature set's shards in one format, losing nothing."""
    cache_root = workspace.cache
    sets = feature_sets(cache_root)
    if not sets:
        raise CacheError(
            f"{cache_root} holds no features to convert; run first: pfcli extract --modality all"
        )
    for features in sets:
        shards = _with_bar(features.path, "convert", partial(convert, format=shard_format))
        print(f"{_place(features.path)}: {shards} shards rewritten as {shard_format}")
    print(f"next: {command(workspace, 'verify')}")


def _place(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


def _with_bar(path: Path, doing: str, action: Callable[..., Result]) -> Result:
    """Return `action(path, progress=…)`, its progress shown as a bar of shards."""
    with tqdm(desc=f"{doing} {_place(path)}", unit="shard", disable=None) as bar:

        def report(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        return action(path, progress=report)
