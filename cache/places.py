"""Where a cache can lie: in a folder of this machine, or below a prefix of an object store."""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath
from typing import Self

from ..errors import ConfigError

_URL = re.compile(r"(s3|gs|az|memory):(/.*)?")
_NO_BUCKET = re.compile(r"(s3|gs|az):/*")
_OTHER_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/.*")


class Url(PurePosixPath):
    """A prefix of an object store, such as `s3://bucket/cache`; joined and taken apart as paths."""

    def __str__(self) -> str:
        scheme, _, rest = super().__str__().partition(":")
        return f"{scheme}://{rest.lstrip('/')}"

    @property
    def bucket(self) -> str:
        """The store's own URL, without a prefix."""
        return str(Url(*self.parts[:2]))

    @property
    def key(self) -> str:
        """The names below the bucket, with forward slashes."""
        return "/".join(self.parts[2:])


@dataclass(frozen=True)
class Placed:
    """An object's name, its sha256 in hex and its size."""

    name: str
    sha256: str
    size_bytes: int

    @classmethod
    def of(cls, path: Path, name: Callable[[str], str]) -> Self:
        """Return a file's, its name being made of its sha256."""
        with path.open("rb") as stream:
            sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
        return cls(name(sha256), sha256, path.stat().st_size)


@dataclass(frozen=True)
class Kept:
    """An object's name below a prefix, its size, and when it was changed."""

    name: str
    size_bytes: int
    changed_ns: int


def place_of(place: PurePath | str) -> PurePath:
    """Return a folder or a URL as what it is: a `Path`, or a `Url` where it names a store.

    A path that was made of a URL, and has lost a slash, counts as that URL.

    Raises:
        ConfigError: If it is a URL of another kind, or one without a bucket.
    """
    if isinstance(place, Url) or _URL.fullmatch(str(place)):
        if _NO_BUCKET.fullmatch(str(place)):
            raise ConfigError(f"{place}: names no bucket; {_USABLE}")
        return Url(str(place))
    if _OTHER_URL.fullmatch(str(place)):
        raise ConfigError(f"{place}: no store that can be used; {_USABLE}")
    return Path(place).expanduser()


_USABLE = "give a folder, or s3://BUCKET/FOLDER, gs://BUCKET/FOLDER or az://CONTAINER/FOLDER"
