"""The commands of `pfcli` that put caches together, keep them small and share them."""

from typing import Annotated

import typer

from .command_line import Call

Files = Annotated[list[str], typer.Argument(metavar="FILE", help="npy, npz, HDF5 or safetensors.")]
Folder = Annotated[str, typer.Argument(metavar="FOLDER", help="Where to write the files.")]
Sources = Annotated[
    list[str], typer.Argument(metavar="SOURCE", help="Caches to take from: folders or URLs.")
]

_ELSEWHERE = "A folder, s3://…, gs://…, az://… or hf://datasets/ME/NAME."
Target = Annotated[str, typer.Argument(metavar="DEST", help=_ELSEWHERE)]
Source = Annotated[str, typer.Argument(metavar="SOURCE", help=_ELSEWHERE)]


def merge(call: Call, sources: Sources) -> None:
    """Take into this cache what other caches hold and it does not: rows, failures, datasets.

    Examples: `pfcli merge other/cache` · `pfcli merge a/cache b/cache --cache both/cache`
    """
    from .merging import run_merge

    run_merge(call.workspace, sources, call.settings)


def compact(call: Call) -> None:
    """Join many small shards into few; readers and writers at work go on.

    Examples: `pfcli compact` · `pfcli compact --shard-megabytes 256`
    """
    from .merging import run_compaction

    run_compaction(call.workspace, call.settings)


def collect(call: Call) -> None:
    """Remove what nothing in the cache names and no writer at work may need.

    Examples: `pfcli gc --dry-run` · `pfcli gc --asked`
    """
    from .merging import run_collection

    run_collection(call.workspace, call.settings)


def import_(call: Call, files: Files) -> None:
    """Take features that exist already into the cache, as a set of unknown provenance.

    Examples: `pfcli import vit.npy --media images.txt --dataset mine --modality image` ·
    `pfcli import clips.npz --media clips.csv --data /data/mine --dataset mine --modality video`
    """
    from .merging import run_import

    run_import(call.workspace, files, call.settings)


def export_features(call: Call, folder: Folder) -> None:
    """Write feature sets as safetensors, which `import` takes again, or as Parquet.

    Examples: `pfcli export-features out` · `pfcli export-features out --by-split --dataset mine
    --format parquet`
    """
    from .merging import run_feature_export

    run_feature_export(call.workspace, folder, call.settings)


def push(call: Call, target: Target) -> None:
    """Copy the cache to another place; what is there is not sent again.

    Examples: `pfcli push s3://bucket/jokes` · `pfcli push hf://datasets/me/jokes`
    """
    from .copies import run_push

    run_push(call.workspace, target)


def pull(call: Call, source: Source) -> None:
    """Copy a cache from another place into this one, every byte compared with its hash.

    Examples: `pfcli pull s3://bucket/jokes` · `pfcli pull hf://datasets/me/jokes`
    """
    from .copies import run_pull

    run_pull(call.workspace, source)


KEEPING = {
    "merge": merge,
    "compact": compact,
    "gc": collect,
    "import": import_,
    "export-features": export_features,
    "push": push,
    "pull": pull,
}
"""Each command's function, by its name."""
