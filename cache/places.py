"""Where a cache can lie: in a folder of this machine, or below a prefix of an object store."""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath
from typing import Self

_URL = re.compile(r"(s3|gs|az|memory):(/.*)?")


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
    """
    is_url = isinstance(place, Url) or _URL.fullmatch(str(place))
    return Url(str(place)) if is_url else Path(place).expanduser()
