"""`pfcli push` and `pfcli pull`."""

from ..cache.copies import Copied, copy_cache
from ..cache.hub import SCHEME, fetch_from_hub, push_to_hub
from ..cache.mirror import mirrored
from ..cache.places import Url, place_of
from ..library.to_type import command
from ..library.workspace import Workspace
from ..tables import Cell, Table


def run_push(workspace: Workspace, target: str) -> None:
    """Copy the cache to a folder, a store or a dataset of the hub, and print what was sent."""
    if target.startswith(SCHEME):
        source = workspace.cache
        if isinstance(source, Url):  # the hub's client sends files of a folder
            source = mirrored(Url("copy:", *source.parts))
            copy_cache(workspace.cache, source)
        push_to_hub(place_of(str(source)), target)  # pyright: ignore[reportArgumentType]
        print(f"pushed {workspace.cache} to {target}")
    else:
        _print(copy_cache(workspace.cache, place_of(target)))
    print(f"next, elsewhere: pfcli pull {target}")


def run_pull(workspace: Workspace, source: str) -> None:
    """Copy a cache from a folder, a store or the hub into this one, and print what came."""
    place = fetch_from_hub(source) if source.startswith(SCHEME) else place_of(source)
    _print(copy_cache(place, workspace.cache))
    print(f"next: {command(workspace, 'inspect')}")


def _print(copied: list[Copied]) -> None:
    rows: list[list[Cell]] = [
        [part.name, part.files, f"{part.size_bytes:,} B", part.there] for part in copied
    ]
    print(Table("copied", ["what", "files sent", "bytes", "there before"], rows).text())
