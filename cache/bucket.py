"""The calls through which a cache is read and written, on an object store."""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ..errors import StoreError
from .atomic import make_folder, replacing, temporary_path
from .client import NO_CONDITIONS, client, explained
from .mirror import make_room, mirror_bytes, mirrored, note_use
from .places import Kept, Placed, Url

_TRIES = 3  # of a transfer that ends early, beside those of each request
_WORKERS = 16
_CHUNK_BYTES = 8 * 2**20


class Bucket:
    """Objects by name below a URL, each old or new and never half; mirrored here to be mapped.

    Names are relative paths with forward slashes. obstore takes endpoints and credentials from the
    environment.
    """

    def __init__(self, root: Url) -> None:
        self.root = root

    @property
    def local(self) -> Path:
        """The folder of this machine in which objects are mirrored."""
        return mirrored(self.root)

    @property
    def mapped_bytes(self) -> int | None:
        """How much may be mapped at once: what the mirror may hold."""
        return mirror_bytes()

    def path(self, name: str) -> Path:
        """Return where an object lies once it is staged."""
        return self.local / name

    def get(self, name: str) -> bytes | None:
        """Return an object's bytes, None where there is no such object."""

        def get() -> bytes:
            answer = _obstore().get(self._client, self._key(name))
            content = bytes(answer.bytes())
            _require_whole(len(content), answer.meta["size"])
            return content

        return self._try(f"get {name}", get)

    def get_many(self, names: Iterable[str]) -> Iterator[bytes | None]:
        """Yield the bytes of each of many objects, None where there is no such object."""
        with ThreadPoolExecutor(_WORKERS) as pool:
            yield from pool.map(self.get, names)

    def put(self, name: str, content: bytes) -> None:
        """Write an object, in place of one of that name."""
        self._put(name, content)

    def put_if_absent(self, name: str, content: bytes) -> bool:
        """Write an object unless there is one of that name; return whether it was written.

        Of several writers of different contents, on however many machines, one is told True.

        Raises:
            StoreError: If the store would overwrite an object all the same.
        """
        if not self._create(name, content):
            return self.get(name) == content  # put by this call, whose first answer was lost
        self._require_conditions(name, content)
        return True

    def place(self, write: Callable[[Path], object], name: Callable[[str], str]) -> Placed:
        """Return what `write` made at the path it was given, now under a name made of its sha256.

        Args:
            write: Writes and checks the file; what it raises leaves nothing behind.
            name: The object's name, given the sha256 in hex.
        """
        temporary = temporary_path(self.path(name("")))
        make_folder(temporary.parent)
        try:
            write(temporary)
            placed = Placed.of(temporary, name)
            self._put(placed.name, temporary)
            if self.size(placed.name) != placed.size_bytes:
                raise StoreError(f"{self.root / placed.name}: lacks bytes that were put")
            temporary.replace(self.path(placed.name))
        finally:
            temporary.unlink(missing_ok=True)
        make_room(self.path(placed.name))
        return placed

    def holds(self, name: str) -> bool:
        """Return whether there is an object of that name, or one below it."""
        return self.size(name) is not None or bool(self.list(name))

    def folders(self) -> list[str]:
        """Return the names directly below which there are objects, sorted."""
        return sorted(path.rpartition("/")[2] for path in self._listed("")["common_prefixes"])

    def list(self, prefix: str = "") -> dict[str, int]:
        """Return the names of the objects directly below `prefix`, sorted, each with its size."""
        objects = self._listed(prefix)["objects"]
        lead = f"{prefix}/" if prefix else ""
        sizes = {entry["path"].rpartition("/")[2]: entry["size"] for entry in objects}
        return {lead + name: sizes[name] for name in sorted(sizes) if name[:1] not in ("", ".")}

    def delete(self, name: str) -> None:
        """Remove an object, if it is there."""
        self._try(f"delete {name}", lambda: _obstore().delete(self._client, self._key(name)))

    def size(self, name: str) -> int | None:
        """Return an object's size in bytes, None where there is no such object."""
        key = self._key(name)
        return self._try(f"head {name}", lambda: _obstore().head(self._client, key)["size"])

    def stage(self, names: Iterable[str]) -> None:
        """Have objects lie at their paths, fetched where they do not and the store has them.

        Whether they are the right ones is for `check_files` to see.
        """
        absent: list[str] = []
        for name in names:
            try:
                note_use(self.path(name))
            except FileNotFoundError:
                absent.append(name)
        with ThreadPoolExecutor(_WORKERS // 4) as pool:
            list(pool.map(self.renew, absent))

    def renew(self, name: str) -> bool:
        """Fetch an object anew, whatever is mirrored; return whether there is one."""
        path = self.path(name)
        path.unlink(missing_ok=True)
        if not self.copy_to(name, path):
            return False
        make_room(path)
        return True

    def copy_to(self, name: str, path: Path) -> bool:
        """Fetch an object into a file; return whether there is one."""
        make_folder(path.parent)
        return self._try(f"get {name}", lambda: self._fetch(name, path)) is not None

    def walk(self) -> Iterator[Kept]:
        """Yield all objects below the root, those in folders of it included."""
        lead = f"{self.root.key}/" if self.root.key else ""

        def walk() -> Any:
            parts = _obstore().list(self._client, self.root.key or None)
            return [entry for part in parts for entry in part]

        for entry in self._try("list", walk) or []:
            changed_ns = int(entry["last_modified"].timestamp()) * 10**9
            yield Kept(entry["path"].removeprefix(lead), entry["size"], changed_ns)

    def tidy(self, prefix: str = "") -> None:
        """Do nothing: a store never shows what was half put."""

    def _fetch(self, name: str, path: Path) -> int:
        answer = _obstore().get(self._client, self._key(name))
        with replacing(path) as temporary, temporary.open("wb") as stream:
            for chunk in answer.stream(min_chunk_size=_CHUNK_BYTES):
                stream.write(chunk)
            _require_whole(stream.tell(), answer.meta["size"])
            stream.flush()
        return answer.meta["size"]

    def _put(self, name: str, content: bytes | Path) -> None:
        key = self._key(name)
        if self._try(f"put {name}", lambda: _obstore().put(self._client, key, content)) is None:
            raise self._no_bucket()

    def _create(self, name: str, content: bytes) -> bool:
        """Write an object unless there is one; return whether the store says that it did."""
        from obstore.exceptions import AlreadyExistsError

        key = self._key(name)

        def create() -> bool:
            try:
                _obstore().put(self._client, key, content, mode="create")
            except AlreadyExistsError:
                return False
            return True

        done = self._try(f"put {name} if absent", create)
        if done is None:
            raise self._no_bucket()
        return done

    def _require_conditions(self, name: str, content: bytes) -> None:
        """Put what was just put once more, the first time: a store with conditions refuses it."""
        if self.root.bucket in _with_conditions:
            return
        if self._create(name, content):
            raise StoreError(
                f"{self.root.bucket}: overwrites an object that was to be put only if absent (it "
                "ignores If-None-Match), so two writers could take each other's work for their "
                "own; use a store with conditional puts, such as S3, GCS, Azure or MinIO"
            )
        _with_conditions.add(self.root.bucket)

    def _listed(self, prefix: str) -> Any:
        key = self._key(prefix) or None

        def listed() -> Any:
            return _obstore().list_with_delimiter(self._client, key)

        return self._try(f"list {prefix}", listed) or {"objects": [], "common_prefixes": []}

    def _key(self, name: str) -> str:
        return "/".join(part for part in (self.root.key, name) if part)

    @property
    def _client(self) -> Any:
        return client(self.root.bucket, os.getpid())

    def _try(self, doing: str, action: Callable[[], Any]) -> Any:
        """Return what a call gives, None where there is no such object.

        What obstore's own retries do not mend, such as an answer that ends early, is tried again.
        """
        from obstore.exceptions import BaseError, GenericError

        for left in reversed(range(_TRIES)):
            try:
                return action()
            except StoreError:
                raise
            except (BaseError, ConnectionError, FileNotFoundError) as error:
                if "NoSuchBucket" in str(error):
                    raise self._no_bucket() from error
                if isinstance(error, FileNotFoundError):
                    return None
                may_pass = isinstance(error, GenericError | ConnectionError)
                if not left or not may_pass or NO_CONDITIONS in str(error):
                    raise explained(self.root, doing, error) from error
        return None

    def _no_bucket(self) -> StoreError:
        return StoreError(f"{self.root.bucket}: no such bucket; make it, or name another")


#: The stores that were seen to refuse a second writer.
_with_conditions: set[str] = set()


def _require_whole(size_bytes: int, expected: int) -> None:
    if size_bytes != expected:
        raise ConnectionError(f"{size_bytes} of {expected} bytes came")


def _obstore() -> Any:
    import obstore

    return obstore
