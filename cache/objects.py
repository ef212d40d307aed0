"""The calls through which a cache is read and written: on a folder, or on an object store."""

import errno
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePath

from ..errors import CacheError
from .atomic import make_folder, remove_temporary_files, replacing, sync, temporary_path
from .bucket import Bucket
from .keys import file_sha256
from .places import Placed, Url, place_of

_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK)


class Folder:
    """Objects by name below one folder, each old or new and never half, fsynced when a call ends.

    Names are relative paths with forward slashes.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(root)

    @property
    def local(self) -> Path:
        """The folder of this machine in which objects lie."""
        return self.root

    @property
    def mapped_bytes(self) -> int | None:
        """How much may be mapped at once: as much as there is."""
        return None

    def path(self, name: str) -> Path:
        """Return where an object lies, for what maps or hashes it."""
        return self.root / name

    def stage(self, names: Iterable[str]) -> None:
        """Do nothing: objects lie at their paths already."""

    def renew(self, name: str) -> bool:  # noqa: ARG002
        """Return whether an object can be had anew: there is only this one."""
        return False

    def tidy(self, prefix: str = "") -> None:
        """Remove what writers that are gone have half written in the folder `prefix`."""
        remove_temporary_files(self.path(prefix))

    def get(self, name: str) -> bytes | None:
        """Return an object's bytes, None where there is no such object."""
        try:
            return self.path(name).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise CacheError(f"{self.path(name)}: cannot be read: {error}") from error

    def get_many(self, names: Iterable[str]) -> Iterator[bytes | None]:
        """Yield the bytes of each of many objects, None where there is no such object."""
        return map(self.get, names)

    def put(self, name: str, content: bytes) -> None:
        """Write an object, in place of one of that name."""
        with self.placing(name) as temporary:
            temporary.write_bytes(content)

    def put_if_absent(self, name: str, content: bytes) -> bool:
        """Write an object unless there is one of that name; return whether it was written.

        Of several writers, on however many machines, one is told True.
        """
        path = self.path(name)
        make_folder(path.parent)
        temporary = temporary_path(path)
        try:
            temporary.write_bytes(content)
            sync(temporary)
            _link(temporary, path)
        except FileExistsError:
            return False
        finally:
            temporary.unlink(missing_ok=True)
        sync(path.parent)
        return True

    @contextmanager
    def placing(self, name: str) -> Iterator[Path]:
        """Yield a temporary path; the file written there becomes the object, on success."""
        make_folder(self.path(name).parent)
        with replacing(self.path(name)) as temporary:
            yield temporary

    def place(self, write: Callable[[Path], object], name: Callable[[str], str]) -> Placed:
        """Return what `write` made at the path it was given, now under a name made of its sha256.

        A whole file that is there already under that name stays.

        Args:
            write: Writes and checks the file; what it raises leaves nothing behind.
            name: The object's name, given the sha256 in hex.
        """
        temporary = temporary_path(self.path(name("")))
        make_folder(temporary.parent)
        try:
            write(temporary)
            sync(temporary)
            placed = Placed.of(temporary, name)
            if not self._holds(placed):
                temporary.replace(self.path(placed.name))
        finally:
            temporary.unlink(missing_ok=True)
        sync(temporary.parent)
        return placed

    def _holds(self, placed: Placed) -> bool:
        path, size_bytes = self.path(placed.name), self.size(placed.name)
        return size_bytes == placed.size_bytes and file_sha256(path).hex() == placed.sha256

    def holds(self, name: str) -> bool:
        """Return whether there is an object of that name, or one below it."""
        return self.path(name).exists()

    def folders(self) -> list[str]:
        """Return the names of the folders directly in this one, sorted."""
        return sorted(path.name for path in self.root.glob("*/"))

    def list(self, prefix: str = "") -> dict[str, int]:
        """Return the names of the objects directly in `prefix`, sorted, each with its size."""
        lead, sizes = f"{prefix}/" if prefix else "", dict[str, int]()
        with suppress(FileNotFoundError, NotADirectoryError), os.scandir(self.path(prefix)) as held:
            for entry in held:
                with suppress(FileNotFoundError):  # removed in this instant
                    if not entry.name.startswith(".") and entry.is_file():
                        sizes[lead + entry.name] = entry.stat().st_size
        return dict(sorted(sizes.items()))

    def delete(self, name: str) -> None:
        """Remove an object, if it is there."""
        self.path(name).unlink(missing_ok=True)

    def size(self, name: str) -> int | None:
        """Return an object's size in bytes, None where there is no such object."""
        try:
            return self.path(name).stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            return None


Store = Folder | Bucket


def store_at(place: PurePath | str) -> Store:
    """Return the objects in a folder, or below a URL."""
    place = place_of(place)
    return Bucket(place) if isinstance(place, Url) else Folder(Path(place))


def _link(temporary: Path, path: Path) -> None:
    """Give a whole file its name, or raise `FileExistsError`."""
    try:
        os.link(temporary, path)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        # a file system without links: of two writers in the same instant the later one stays
        if path.exists():
            raise FileExistsError(path) from error
        temporary.replace(path)
