"""Media and annotations that lie below a URL, fetched into a folder of this machine to be read."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tqdm import tqdm

from ..errors import DatasetMissing, StoreError
from .bucket import Bucket
from .mirror import MIRROR_GB, fetched_path, mirror_bytes
from .places import Kept, Url

_WORKERS = 16


def fetch(url: Url) -> Path:
    """Return the folder, or file, that a URL's objects were fetched to; what is there stays.

    Of a table, what lies beside it is fetched too. Nothing outside that prefix is, whatever a
    table names.

    Raises:
        DatasetMissing: If nothing lies there.
        StoreError: If it is more than the mirror may hold, or the store refuses.
    """
    is_file = bool(url.key) and Bucket(Url(url.parent)).size(url.name) is not None
    root = Url(url.parent) if is_file else url
    store, folder = Bucket(root), fetched_path(root)
    kept = [entry for entry in store.walk() if ".." not in entry.name.split("/")]
    if not kept:
        raise DatasetMissing(f"--data {url}: nothing lies there")
    size_bytes, most = sum(entry.size_bytes for entry in kept), mirror_bytes()
    if size_bytes > most:
        raise StoreError(
            f"{root}: {size_bytes:,} bytes, and the mirror holds {most:,} at most; "
            f"let it hold more: {MIRROR_GB}={size_bytes / 1e9 + 1:.0f}"
        )
    missing = [entry for entry in kept if not _is_there(folder / entry.name, entry)]

    def get(entry: Kept) -> int:
        path = folder / entry.name
        store.copy_to(entry.name, path)
        os.utime(path, ns=(entry.changed_ns, entry.changed_ns))  # unchanged for the next command
        return entry.size_bytes

    with (
        ThreadPoolExecutor(_WORKERS) as pool,
        tqdm(
            total=sum(entry.size_bytes for entry in missing),
            desc=f"fetch {root}",
            unit="B",
            unit_scale=True,
            disable=None,
        ) as bar,
    ):
        for done in pool.map(get, missing):
            bar.update(done)
    return fetched_path(url)


def fetched_here(path: Path, root: Path) -> Path:
    """Return where a file that another process has fetched below its `root` lies here.

    It is fetched unless it is there.

    Raises:
        DatasetMissing: If the store has it no more.
    """
    scheme, *names = path.relative_to(root).parts
    url = Url(f"{scheme}:", *names)
    here = fetched_path(url)
    if not here.exists() and not Bucket(Url(url.parent)).copy_to(url.name, here):
        raise DatasetMissing(f"{url}: is there no more; it was when the command began")
    return here


def _is_there(path: Path, entry: Kept) -> bool:
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return (status.st_size, status.st_mtime_ns) == (entry.size_bytes, entry.changed_ns)
