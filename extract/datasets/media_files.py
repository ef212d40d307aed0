"""The files that annotations name: where they lie, whether they can be used, their hashes."""

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tqdm import tqdm

from ...cache.checked import file_state
from ...cache.commits import Failure
from ...cache.keys import file_sha256
from ...errors import MediumError, MediumMissing, MediumOutside, MediumUnreadable
from ..media import Limits, Span, check_file

State = tuple[int, int, int]
"""A file's size in bytes, time of change in nanoseconds, and inode."""

_ANY_SIZE = Limits(max_bytes=2**63)  # the decoder's limits are the encoder's affair
_HASHING_THREADS = 4
_FILES_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class MediumFile:
    """A file that can be given to an encoder, its bytes hashed in this state, if it is known."""

    sha256: bytes
    path: Path
    name: str
    state: State | None


@dataclass(frozen=True, slots=True)
class MediumRef:
    """A medium to encode.

    Attributes:
        key: The sha256 of its bytes and span.
        path: Where it lies.
        modalities: What is wanted of it; a clip with sound has both `video` and `audio`.
        span_seconds: The part `[start, end)` that is meant; None is the whole file.
        name: Its path as the annotations give it, the same on every machine.
        state: Of the file when it was hashed, as `file_state` gives it; None where not known.
    """

    key: bytes
    path: Path
    modalities: frozenset[str]
    span_seconds: Span | None = None
    name: str = ""
    state: State | None = field(default=None, compare=False)


class DataFolder:
    """A folder that media lie in, links followed; folders in it are looked up once."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._real_root = os.path.realpath(root)
        self._inside: dict[str, bool] = {}

    def path_of(self, name: str) -> Path:
        """Return the path of a medium, known to lie in the folder.

        Raises:
            MediumOutside: If it leads out of the folder.
            MediumMissing: If it is no name of a file.
        """
        path = self.root / name
        folder, last = os.path.split(path)
        try:
            if last == ".." or "\0" in name or path == self.root or path.is_symlink():
                inside = self._holds(os.path.realpath(path))
            elif folder in self._inside:
                inside = self._inside[folder]
            else:
                inside = self._inside[folder] = self._holds(os.path.realpath(folder))
        except ValueError as error:  # a NUL byte in the name
            raise MediumMissing(f"{path}: {error}") from error
        if not inside:
            raise MediumOutside(
                f"{path}: leads outside the data folder; move or copy it into the folder"
            )
        return path

    def _holds(self, real: str) -> bool:
        return os.path.commonpath([real, self._real_root]) == self._real_root


def hash_files(
    root: Path, names: Sequence[str], known: Mapping[str, MediumFile]
) -> dict[str, MediumFile | Failure]:
    """Return the files below a folder by name; known ones that did not change are not read."""
    files: dict[str, MediumFile | Failure | None] = dict.fromkeys(names)
    files.update((name, file) for name, file in known.items() if name in files)
    left = [name for name, file in files.items() if file is None or not _unchanged(file)]
    parts = [left[at : at + _FILES_AT_ONCE] for at in range(0, len(left), _FILES_AT_ONCE)]
    folder = DataFolder(root)
    with (
        ThreadPoolExecutor(_HASHING_THREADS) as pool,
        tqdm(total=len(left), desc="hash media", unit="file", disable=None) as bar,
    ):
        for part, hashed in zip(parts, pool.map(partial(_hash_part, folder), parts), strict=True):
            files.update(zip(part, hashed, strict=True))
            bar.update(len(part))
    return {name: file for name, file in files.items() if file is not None}


def _unchanged(file: MediumFile | Failure) -> bool:
    return isinstance(file, MediumFile) and state_of(file.path) == file.state


def state_of(path: Path | str) -> State | None:
    """Return a file's state, None where there is none to be seen."""
    try:
        return file_state(path)
    except (OSError, ValueError):
        return None


def still_fails(root: Path, failure: Failure) -> bool:
    """Return whether a file cannot be used, for the reason for which it could not."""
    path = os.path.join(root, failure.path)  # noqa: PTH118  # there may be very many
    if failure.reason == MediumMissing.reason and state_of(path) is None:
        return True
    return hash_file(DataFolder(root), failure.path) == failure


def _hash_part(folder: DataFolder, names: Sequence[str]) -> list[MediumFile | Failure]:
    return [hash_file(folder, name) for name in names]


def hash_file(folder: DataFolder, name: str) -> MediumFile | Failure:
    """Return a file below a folder, or why no encoder can be given it."""
    try:
        path = folder.path_of(name)
        check_file(path, limits=_ANY_SIZE)
        state = file_state(path)
        return MediumFile(file_sha256(path), path, name, state)
    except MediumError as error:
        message = str(error).removeprefix(f"{folder.root / name}: ")
        return Failure(key=None, path=name, reason=error.reason, message=message)
    except OSError as error:
        message = f"cannot be read: {error.strerror}"
        return Failure(None, name, MediumUnreadable.reason, message)
