"""Caches as datasets of the Hugging Face hub: sent from a folder, and fetched into one."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import CacheError, ConfigError, StoreError
from .examples import DATASET_NAME, read_datasets
from .layout import check_shards
from .mirror import mirrored
from .places import Url
from .store import feature_sets

SCHEME = "hf://datasets/"

_FILES = ["features/*/*/manifest.json", "features/*/*/shard-*", "examples/*/*"]
_COUNTING = ["features/*/*/commits/*.json", f"examples/*/{DATASET_NAME}"]
_HIDDEN = ["**/.*", ".*", "asked/**"]
_CARD = "README.md"


def push_to_hub(folder: Path, url: str) -> None:
    """Send a cache's files to a dataset of the hub, then what makes them count, then a card.

    The hub keeps files by their hash: what it has is not sent again.

    Raises:
        ShardCorrupt: If a shard is damaged.
        StoreError: If the hub refuses.
    """
    from huggingface_hub import HfApi

    name, api = _repository(url), HfApi()
    card = _card(folder, name)
    for features in feature_sets(folder):
        check_shards(features.path, features.shard_commits)
    with _told(url, "write to"):
        api.create_repo(name, repo_type="dataset", private=True, exist_ok=True)
        for patterns, left_out in ((_FILES, [*_HIDDEN, *_COUNTING]), (_COUNTING, _HIDDEN)):
            api.upload_folder(
                repo_id=name,
                repo_type="dataset",
                folder_path=folder,
                allow_patterns=patterns,
                ignore_patterns=left_out,
                commit_message="Features, by promptfuse",
            )
        if not api.file_exists(name, _CARD, repo_type="dataset"):
            api.upload_file(
                path_or_fileobj=card.encode(),
                path_in_repo=_CARD,
                repo_id=name,
                repo_type="dataset",
            )


def fetch_from_hub(url: str) -> Path:
    """Return a folder of the mirror that holds what a dataset of the hub does, all fetched."""
    from huggingface_hub import snapshot_download

    name = _repository(url)
    folder = mirrored(Url("hf:", *name.split("/")))
    with _told(url, "read"):
        snapshot_download(
            name,
            repo_type="dataset",
            local_dir=folder,
            allow_patterns=[*_FILES, *_COUNTING],
        )
    return folder


def _repository(url: str) -> str:
    name = url.removeprefix(SCHEME).strip("/")
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        raise ConfigError(f"{url}: name a dataset as {SCHEME}ME/NAME")
    return name


@contextmanager
def _told(url: str, doing: str) -> Iterator[None]:
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        yield
    except (HfHubHTTPError, LocalEntryNotFoundError, ConnectionError) as error:
        said = str(error).strip().partition("\n")[0]
        raise StoreError(
            f"{url}: cannot {doing} it: {said}; is it there, and may you? set HF_TOKEN, or run "
            "hf auth login; the same command goes on"
        ) from error


def _card(folder: Path, name: str) -> str:
    """Return a dataset card: what the cache holds, and how it is had."""
    sets, datasets = feature_sets(folder), read_datasets(folder)
    if not sets and not datasets:
        raise CacheError(f"{folder} holds nothing to push; run first: pfcli extract")
    lines = ["---", "tags: [promptfuse, features]", "---", f"# {name}", ""]
    lines += ["Features of frozen encoders, as promptfuse keeps them:", ""]
    lines += ["| modality | fingerprint | encoder | rows |", "|---|---|---|---|"]
    lines += [f"| {s.modality} | {s.fingerprint} | {s.encoder} | {len(s)} |" for s in sets]
    lines += ["", "| dataset | task | examples |", "|---|---|---|"]
    lines += [f"| {info.name} | {info.task} | {sum(info.splits.values())} |" for info in datasets]
    lines += ["", "```", f"pfcli pull {SCHEME}{name}", "```", ""]
    return "\n".join(lines)
