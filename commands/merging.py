"""`pfcli merge`, `pfcli compact` and `pfcli gc`: caches put together and kept small."""

from collections.abc import Sequence
from functools import partial

from ..cache.collecting import find_garbage, remove_garbage
from ..cache.compacting import compact
from ..cache.merging import merge
from ..cache.settings import CompactSettings, GcSettings, MergeSettings
from ..cache.store import feature_sets
from ..errors import CacheError
from ..extract.complete import ASKED
from ..library.to_type import command
from ..library.workspace import Workspace
from ..tables import Table
from .cache import place, with_bar


def run_merge(workspace: Workspace, sources: Sequence[str], settings: MergeSettings) -> None:
    """Take other caches into this one and print what came."""
    brought = merge(sources, workspace.cache, datasets=not settings.features_only)
    rows = [[str(one.source), one.what, one.count, one.failures] for one in brought]
    print(Table(f"new in {workspace.cache}", ["from", "what", "rows", "failures"], rows).text())
    print(f"next: {command(workspace, 'inspect')}")


def run_compaction(workspace: Workspace, settings: CompactSettings) -> None:
    """Join the small shards of each feature set and print how many there were and are."""
    sets = feature_sets(workspace.cache)
    if not sets:
        raise CacheError(
            f"{workspace.cache} holds no features to compact; "
            "run first: pfcli extract --modality all"
        )
    action = partial(compact, shard_bytes=settings.shard_megabytes * 2**20)
    for features in sets:
        before, after = with_bar(features.path, "compact", action)
        print(f"{place(features.path)}: {before} commits became {after}")
    print(f"next: {command(workspace, 'verify')}")


def run_collection(workspace: Workspace, settings: GcSettings) -> None:
    """Remove what nothing names and print each object with its size."""
    root = workspace.cache
    garbage = find_garbage(root, beside=ASKED, all_beside=settings.asked)
    rows = [[one.name or place(one.folder), f"{one.size_bytes:,}", one.why] for one in garbage]
    if rows:
        print(Table(f"nothing needs, in {root}", ["what", "bytes", "why"], rows).text())
    if settings.dry_run:
        print(f"{sum(one.size_bytes for one in garbage):,} bytes would be removed")
    else:
        print(f"{remove_garbage(garbage):,} bytes removed")
