"""`pfcli merge`, `compact`, `gc`, `import`, `export-features`: what goes in and out of a cache."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from ..cache.collecting import find_garbage, remove_garbage
from ..cache.compacting import compact
from ..cache.examples import read_dataset, read_examples
from ..cache.exporting import export_features
from ..cache.importing import import_features
from ..cache.merging import merge
from ..cache.settings import (
    CompactSettings,
    ExportFeaturesSettings,
    GcSettings,
    ImportSettings,
    MergeSettings,
)
from ..cache.store import feature_sets
from ..errors import CacheError, ConfigError
from ..extract.complete import ASKED
from ..library.to_type import command
from ..library.workspace import Workspace
from ..tables import Table
from .cache import held_sets, place, with_bar


def run_merge(workspace: Workspace, sources: Sequence[str], settings: MergeSettings) -> None:
    """Take other caches into this one and print what came."""
    brought = merge(sources, workspace.cache, datasets=not settings.features_only)
    rows = [[str(part.source), part.what, part.count, part.failures] for part in brought]
    print(Table(f"new in {workspace.cache}", ["from", "what", "rows", "failures"], rows).text())
    print(f"next: {command(workspace, 'inspect')}")


def run_compaction(workspace: Workspace, settings: CompactSettings) -> None:
    """Join the small shards of each feature set and print how many there were and are."""
    action = partial(compact, shard_bytes=settings.shard_megabytes * 2**20)
    for features in held_sets(workspace, to="compact"):
        before, after = with_bar(features.path, "compact", action)
        print(f"{place(features.path)}: {before} commits became {after}")
    print(f"next: {command(workspace, 'verify')}")


def run_collection(workspace: Workspace, settings: GcSettings) -> None:
    """Remove what nothing names and print each object with its size."""
    root = workspace.cache
    garbage = find_garbage(root, beside=ASKED, all_beside=settings.asked)
    rows = [[it.name or place(it.folder), f"{it.size_bytes:,}", it.why] for it in garbage]
    if rows:
        print(Table(f"nothing needs, in {root}", ["what", "bytes", "why"], rows).text())
    if settings.dry_run:
        print(f"{sum(it.size_bytes for it in garbage):,} bytes would be removed")
    else:
        print(f"{remove_garbage(garbage):,} bytes removed")


def run_import(workspace: Workspace, files: Sequence[str], settings: ImportSettings) -> None:
    """Take arrays into the cache and print what was made of them."""
    if workspace.dataset is None:
        raise ConfigError("whose features are these? give --dataset NAME")
    made = import_features(
        [Path(file) for file in files],
        workspace.cache,
        dataset=workspace.dataset,
        modality=settings.modality,
        media=settings.media,
        data=Path(workspace.data) if workspace.data else None,
        field=settings.field,
        encoder=settings.encoder,
    )
    print(f"{place(made.path)}: {made.rows} rows, {made.new} of them new; provenance unknown")
    chosen = ["--features", f"{settings.modality}={made.path.name}"]
    print(f"next: {command(workspace, 'train', '--dataset', workspace.dataset, *chosen)}")


def run_feature_export(workspace: Workspace, folder: str, settings: ExportFeaturesSettings) -> None:
    """Write the chosen feature sets as files and print these."""
    held = feature_sets(workspace.cache, settings.modality)
    chosen = [features for features in held if features.manifest.is_called(settings.features or "")]
    if not chosen:
        asked = " ".join(filter(None, [settings.modality, settings.features]))
        raise CacheError(
            f"{workspace.cache} holds no {asked} features to export; what it holds: pfcli inspect"
        )
    splits = None
    if settings.by_split:
        if workspace.dataset is None:
            raise ConfigError("by whose splits? give --dataset NAME")
        names = read_dataset(workspace.cache, workspace.dataset).splits
        splits = {name: read_examples(workspace.cache, workspace.dataset, name) for name in names}
    for features in chosen:
        for file in export_features(
            features,
            Path(folder).expanduser(),
            format=settings.format,
            fields=settings.fields or (),
            splits=splits,
        ):
            print(file)
