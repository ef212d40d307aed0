"""A feature set's manifest: what made it and what its rows hold."""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from ..errors import CacheError, CacheVersionError
from .atomic import parse_json_object, shorten
from .fingerprint import canonical_json, fingerprint
from .modalities import MODALITIES
from .objects import Folder
from .sealed import seal, unseal

SCHEMA_VERSION = 2
MANIFEST_NAME = "manifest.json"

DTYPES = ("float16", "float32", "float64", "uint8", "int8", "int16", "int32", "int64")

_FIELD_NAME = re.compile(r"[a-z][a-z0-9_]*")
_FINGERPRINT = re.compile(r"[0-9a-f]+")
_MODALITY_NAME = re.compile(r"[a-z][a-z0-9_-]*")

#: What names an encoder; where the hash of its weights is known, they decide nothing.
_NAMES = ("id", "revision")
_WEIGHTS = "weights_sha256"

#: Where a manifest's provenance says which fingerprints the set had in version 1.
FORMERLY = "formerly"


@dataclass(frozen=True)
class FieldSpec:
    """One named array of every row.

    Attributes:
        dtype: The numpy name of the stored type, one of `DTYPES`.
        shape: The shape of one step, such as `(768,)`.
        ragged: Whether a row has any number of steps (`[steps, *shape]`) or is one (`shape`).
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    ragged: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(int(extent) for extent in self.shape))
        if not _FIELD_NAME.fullmatch(self.name):
            raise CacheError(f"{self.name!r} is not a field name: use a-z, 0-9 and _")
        if self.dtype not in DTYPES:
            raise CacheError(
                f"field {self.name!r}: unknown dtype {self.dtype!r}; one of {', '.join(DTYPES)}"
            )
        if any(extent < 1 for extent in self.shape):
            raise CacheError(f"field {self.name!r}: shape {self.shape} has an empty axis")

    @property
    def step_bytes(self) -> int:
        """The size of one step's values."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    def to_json(self) -> dict[str, Any]:
        """Return the field as a JSON object."""
        return {**asdict(self), "shape": list(self.shape)}


@dataclass(frozen=True)
class Manifest:
    """What made a feature set and what its rows hold.

    Attributes:
        identity: Everything that decides the values: encoder, weights, preprocessing, dtypes.
        fields: The arrays of each row.
        provenance: What is worth knowing but decides nothing: versions, host, date, and the
            fingerprints that the set had in version 1 (`formerly`).
    """

    modality: str
    identity: Mapping[str, Any]
    fields: tuple[FieldSpec, ...]
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "identity", json.loads(canonical_json(self.identity)))
        object.__setattr__(self, "provenance", json.loads(canonical_json(self.provenance)))
        object.__setattr__(self, "fields", tuple(self.fields))
        if not _MODALITY_NAME.fullmatch(self.modality):
            raise CacheError(f"{self.modality!r} is not a modality's name: use a-z, 0-9, _ and -")
        former = self.provenance.get(FORMERLY, []) if isinstance(self.provenance, dict) else None
        if not isinstance(former, list) or not all(
            isinstance(name, str) and _FINGERPRINT.fullmatch(name) for name in former
        ):
            raise CacheError(f"provenance is {shorten(self.provenance)}, an object was expected")
        if not isinstance(self.identity, dict):
            raise CacheError(f"identity is {shorten(self.identity)}, an object was expected")
        names = self.names
        if not names or len(set(names)) != len(names):
            raise CacheError(f"a feature set has one or more fields, each named once; got {names}")

    @property
    def decoded(self) -> bool:
        """Whether it is of decoded media, which an encoder that runs live takes."""
        modality = MODALITIES.get(self.modality)
        return modality is not None and self.names == [modality.decoded_field]

    @property
    def names(self) -> list[str]:
        """The names of its fields."""
        return [spec.name for spec in self.fields]

    @property
    def fingerprinted(self) -> dict[str, Any]:
        """The part of the manifest that its fingerprint covers."""
        named = _NAMES if self.identity.get(_WEIGHTS) else ()
        identity = {name: value for name, value in self.identity.items() if name not in named}
        return {**self._said, "identity": identity}

    @property
    def fingerprint(self) -> str:
        """Sixteen hex digits; two feature sets with the same ones hold the same values."""
        return fingerprint(self.fingerprinted)

    @property
    def fingerprints(self) -> list[str]:
        """Its fingerprint, and those that the set had before."""
        return [self.fingerprint, *self.provenance.get(FORMERLY, ())]

    @property
    def first_fingerprint(self) -> str:
        """The one that it had first, by which runs know it: the set is the same ever since."""
        return next(iter(self.fingerprints[1:]), self.fingerprint)

    def is_called(self, beginning: str) -> bool:
        """Return whether this is the beginning of its fingerprint, or of a former one."""
        return any(name.startswith(beginning) for name in self.fingerprints)

    def formerly(self, fingerprints: list[str]) -> Self:
        """Return the manifest of a set that had these fingerprints before, too."""
        before = dict.fromkeys([*self.fingerprints[1:], *fingerprints])
        provenance = {**self.provenance, FORMERLY: list(before)}
        return replace(self, provenance=provenance)

    @property
    def _said(self) -> dict[str, Any]:
        fields = [spec.to_json() for spec in self.fields]
        return {"modality": self.modality, "identity": self.identity, "fields": fields}

    def to_json(self) -> dict[str, Any]:
        """Return the manifest as a JSON object, its fingerprint beside it."""
        return {
            **self._said,
            "schema_version": SCHEMA_VERSION,
            "fingerprint": self.fingerprint,
            "provenance": self.provenance,
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any], where: str) -> Self:
        """Return the manifest that `to_json` gave; `where` names it in messages."""
        try:
            manifest = cls(
                modality=content["modality"],
                identity=content["identity"],
                fields=tuple(FieldSpec(**spec) for spec in content["fields"]),
                provenance=content["provenance"],
            )
            stored, version = content["fingerprint"], content["schema_version"]
            given = manifest.fingerprint
            if version == 1:  # which covered more
                given = fingerprint({**manifest._said, "schema_version": 1})
                manifest = manifest.formerly([given])
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise CacheError(f"{where}: not a manifest of this package: {error!r}") from error
        if stored != given:
            raise CacheError(
                f"{where}: says fingerprint {stored!r}, its content gives "
                f"{given!r}; it was edited: restore it, or make it again"
            )
        return manifest

    def field(self, name: str) -> FieldSpec:
        """Return the field of that name."""
        if name not in self.names:
            names = ", ".join(self.names)
            raise CacheError(
                f"{self.modality} features {self.fingerprint} hold {names}, not {name!r}"
            )
        return self.fields[self.names.index(name)]


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write `manifest.json` into a feature set's folder, atomically."""
    Folder(folder).put(MANIFEST_NAME, seal(manifest.to_json()))


def read_manifest(folder: Path) -> Manifest:
    """Return the manifest of the feature set in `folder`."""
    return read_versioned(folder)[0]


def read_versioned(folder: Path) -> tuple[Manifest, int]:
    """Return the manifest of the feature set in `folder`, and the schema version it lies in."""
    path = folder / MANIFEST_NAME
    data = Folder(folder).get(MANIFEST_NAME)
    if data is None:
        raise CacheError(f"{path}: no such file; run: pfcli extract")
    content = parse_json_object(data, str(path))
    check_schema_version(path, content)
    version = content["schema_version"]
    if version > 1:
        content = unseal(data, path)
    return Manifest.from_json(content, str(path)), version


def check_schema_version(path: Path, content: Mapping[str, Any]) -> None:
    """Check that this package can read what it found."""
    version = content.get("schema_version")
    if type(version) is not int or version < 1:
        raise CacheError(f"{path}: schema_version is {version!r}, a number from 1 was expected")
    if version > SCHEMA_VERSION:
        raise CacheVersionError(
            f"{path}: cache version {version}, and this promptfuse reads up to version "
            f"{SCHEMA_VERSION}; upgrade promptfuse, or use another cache folder"
        )
