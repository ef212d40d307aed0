"""What an ingest found, remembered beside the examples: an unchanged dataset is not read again.

A memo that is absent, damaged or of something else says nothing, and the dataset is read.
"""

import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import pyarrow as pa

from ...cache.checked import SETTLED_NS
from ...cache.examples import examples_sha256
from ...cache.keys import KEY_BYTES, file_sha256
from ...cache.layout import EXAMPLES_NAME
from ...cache.objects import Folder, store_at
from ...cache.sealed import sealed_bytes, unsealed_bytes
from ...errors import CacheError
from .media_files import MediumFile, MediumRef, State, state_of
from .spool import SPAN_COLUMNS

MEMO_NAME = ".ingested.arrow"

_ABOUT = b"about"
_SCHEMA = pa.schema(
    {
        "name": pa.large_string(),
        "key": pa.binary(KEY_BYTES),
        "sha256": pa.binary(KEY_BYTES),
        **dict.fromkeys(SPAN_COLUMNS, pa.float64()),
        "modalities": pa.list_(pa.dictionary(pa.int8(), pa.string())),
        "size_bytes": pa.uint64(),
        "mtime_ns": pa.int64(),
        "inode": pa.uint64(),
    }
)


@dataclass(frozen=True)
class Origin:
    """What a dataset was read from, as it was before.

    Attributes:
        how: What else decides what is read: the adapter and its options.
        root: The folder that the media's paths are relative to.
        files: The annotation files and their states.
    """

    how: Mapping[str, Any]
    root: Path
    files: Mapping[Path, State | None]


@dataclass(frozen=True)
class Memo:
    """The media that an ingest planned, and what it was made from."""

    about: Mapping[str, Any]
    rows: pa.Table

    def is_of(self, cache_root: PurePath, dataset: str, origin: Origin) -> bool:
        """Return whether a dataset's examples are what reading these annotations gives."""
        examples = examples_sha256(cache_root, dataset)
        if self.about.get("how") != dict(origin.how) or self.about.get("examples") != examples:
            return False
        held = self.about["files"]
        return held.keys() == set(map(str, origin.files)) and all(
            held[str(path)] is not None
            and (held[str(path)][:3] == [*(state or ())] or held[str(path)][3] == _sha256(path))
            for path, state in origin.files.items()
        )

    def media(self, root: Path) -> list[MediumRef]:
        """Return the media in the plan's order."""
        names = ("key", "name", "modalities", *SPAN_COLUMNS)
        columns = [self.rows[name].to_pylist() for name in names]
        media: list[MediumRef] = []
        sets: dict[tuple[str, ...], frozenset[str]] = {}
        for key, name, kinds, start, end, state in zip(*columns, self._states(), strict=True):
            span = None if end is None else (start, end)
            if kinds:  # or else it is a copy of another file
                modalities = sets.setdefault(tuple(kinds), frozenset(kinds))
                media.append(MediumRef(key, root / name, modalities, span, name, state))
        return media

    def unchanged(self, root: Path) -> bool:
        """Return whether all files are in the state in which they were hashed."""
        states = dict(zip(self.rows["name"].to_pylist(), self._states(), strict=True))
        return all(
            state_of(os.path.join(root, name)) == state  # noqa: PTH118  # there may be very many
            for name, state in states.items()
        )

    def files(self, root: Path) -> dict[str, MediumFile]:
        """Return the files by name, as they were when they were hashed."""
        names, hashes = self.rows["name"].to_pylist(), self.rows["sha256"].to_pylist()
        return {
            name: MediumFile(sha256, root / name, name, state)
            for name, sha256, state in zip(names, hashes, self._states(), strict=True)
        }

    def _states(self) -> list[State]:
        columns = [self.rows[name].to_pylist() for name in _SCHEMA.names[-3:]]
        return list(zip(*columns, strict=True))


def read_memo(cache_root: PurePath, dataset: str, root: Path) -> Memo | None:
    """Return what is remembered of a dataset whose media lie below a folder."""
    try:
        data = unsealed_bytes(_folder(cache_root, dataset).get(MEMO_NAME))
        if data is None:
            return None
        rows = pa.ipc.open_stream(data).read_all()
        memo = Memo(json.loads(rows.schema.metadata[_ABOUT]), rows)
    except (CacheError, pa.ArrowException, ValueError, KeyError, TypeError):
        return None
    return memo if memo.about.get("root") == _real(root) else None


def remember(
    cache_root: PurePath,
    dataset: str,
    origin: Origin,
    examples: str,
    media: Sequence[MediumRef],
    files: Mapping[str, MediumFile],
) -> None:
    """Remember an ingest that gave `examples` (as `examples_sha256` names them).

    Files that changed shortly before or since are not known again.
    """
    about = {
        "how": dict(origin.how),
        "root": _real(origin.root),
        "files": {str(path): _settled(path, state) for path, state in origin.files.items()},
        "examples": examples,
    }
    newest = time.time_ns() - SETTLED_NS
    named = {ref.name for ref in media}
    copies = [
        MediumRef(file.sha256, file.path, frozenset(), None, file.name, file.state)
        for file in files.values()
        if file.name not in named
    ]
    refs = [*media, *copies]
    spans = [ref.span_seconds or (None, None) for ref in refs]
    unknown = (None, None, None)
    states = [ref.state if ref.state and ref.state[1] < newest else unknown for ref in refs]
    columns = (
        [ref.name for ref in refs],
        [ref.key for ref in refs],
        [files[ref.name].sha256 for ref in refs],
        *([span[place] for span in spans] for place in range(2)),
        [sorted(ref.modalities) for ref in refs],
        *([state[place] for state in states] for place in range(3)),
    )
    arrays = [pa.array(own, kind) for own, kind in zip(columns, _SCHEMA.types, strict=True)]
    batch = pa.record_batch(arrays, _SCHEMA.with_metadata({_ABOUT: json.dumps(about)}))
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    data = sealed_bytes(sink.getvalue().to_pybytes())
    _folder(cache_root, dataset).put(MEMO_NAME, data)


def _settled(path: Path, state: State | None) -> list[int | str] | None:
    """Return a file's state and sha256, None where it may change, or did, without being noticed."""
    if state is None or time.time_ns() - state[1] <= SETTLED_NS:
        return None
    sha256 = _sha256(path)
    return [*state, sha256] if sha256 and state_of(path) == state else None


def _sha256(path: Path) -> str | None:
    try:
        return file_sha256(path).hex()
    except OSError:
        return None


def _folder(cache_root: PurePath, dataset: str) -> Folder:
    return Folder(store_at(cache_root / EXAMPLES_NAME / dataset).local)


def _real(root: Path) -> str:
    return str(root.resolve())
