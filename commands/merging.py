"""`pfcli merge`, `pfcli compact` and `pfcli gc`: caches put together and kept small."""

from collections.abc import Sequence
from functools import partial

from ..cache.compacting import compact
from ..cache.merging import merge
from ..cache.settings import CompactSettings, MergeSettings
from ..cache.store import feature_sets
from ..errors import CacheError
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
