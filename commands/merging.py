"""`pfcli merge`, `pfcli compact` and `pfcli gc`: caches put together and kept small."""

from collections.abc import Sequence

from ..cache.merging import merge
from ..cache.settings import MergeSettings
from ..library.to_type import command
from ..library.workspace import Workspace
from ..tables import Table


def run_merge(workspace: Workspace, sources: Sequence[str], settings: MergeSettings) -> None:
    """Take other caches into this one and print what came."""
    brought = merge(sources, workspace.cache, datasets=not settings.features_only)
    rows = [[str(one.source), one.what, one.count, one.failures] for one in brought]
    print(Table(f"new in {workspace.cache}", ["from", "what", "rows", "failures"], rows).text())
    print(f"next: {command(workspace, 'inspect')}")
