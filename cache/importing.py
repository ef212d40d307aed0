"""Features that people have already, taken into a cache as a set of unknown provenance."""

import csv
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath

import numpy as np

from ..errors import CacheError, FeatureNotFinite
from .arrays import read_arrays
from .commits import Commit
from .example_table import Example
from .examples import read_dataset, read_examples, read_failures, write_examples
from .keys import BLANK_KEY, KEY_BYTES, file_sha256, unpack_keys
from .manifest import DTYPES, FieldSpec, Manifest
from .modalities import find_modality
from .shard import Column, Shard, part_of
from .store import FeatureWriter

KEYS = "keys"
OFFSETS = ".offsets"

_SHARD_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Imported:
    """What an import made: the set, how many rows it was given, and how many of these are new."""

    path: PurePath
    rows: int
    new: int


@dataclass(frozen=True)
class _Rows:
    """One row a medium: `names` are for messages, `keys` 32 bytes each."""

    names: Sequence[str]
    keys: Sequence[bytes]


def import_features(
    files: Sequence[Path],
    cache_root: PurePath,
    *,
    dataset: str,
    modality: str,
    media: Path | None = None,
    data: Path | None = None,
    field: str | None = None,
    encoder: str = "unknown",
) -> Imported:
    """Write features of a dataset's media into a cache, marked as of unknown provenance.

    An array `NAME` is a field, `[n, *shape]`, or with `NAME.offsets` (`[n + 1]`) ragged,
    `[steps, *shape]`. Row i is that of the i-th medium of the list, or of `keys[i]`. The blank row,
    which stands for a medium that is lacking, is zeros unless it is given.

    Args:
        files: What holds the arrays.
        cache_root: The cache.
        dataset: The dataset whose media these are; it is in the cache, unless `data` is given.
        modality: The kind of media.
        media: The list of media, a path or an example's id a row; None where files hold `keys`.
        data: The folder of the media, to take their keys from their bytes.
        field: The name of an npy file's array, by default the modality's usual field.
        encoder: What made the features, as far as it is known.

    Raises:
        CacheError: If files, list and dataset do not fit one another, or a value is not finite.
    """
    arrays = _arrays_of(files, field or find_modality(modality).default_field)
    stored = arrays.pop(KEYS, None)
    made: dict[str, bytes] = {}
    if media is not None:
        rows = _rows_of(
            read_media_list(media, modality), media, cache_root, dataset, modality, data, made
        )
    elif stored is None:
        raise CacheError(f"{files[0]}: of which media? give --media LIST, a path or id a row")
    elif stored.dtype != np.uint8 or stored.ndim != 2 or stored.shape[1] != KEY_BYTES:
        raise CacheError(f"array {KEYS!r} is {stored.dtype} {stored.shape}; [n, 32] uint8 expected")
    else:
        keys = unpack_keys(stored)
        rows = _Rows([key.hex() for key in keys], keys)
    _refuse_twice(rows)
    shard = _shard_of(arrays, rows)
    identity = {
        "id": encoder,
        "provenance": "unknown",
        "files_sha256": sorted(file_sha256(path).hex() for path in files),
        "keys_sha256": hashlib.sha256(b"".join(rows.keys)).hexdigest(),
    }
    manifest = Manifest(
        modality, identity, tuple(_spec(*column) for column in shard.columns.items())
    )
    new = _write(shard, manifest, cache_root)
    if made:
        _give_keys(cache_root, dataset, modality, made)
    return Imported(new[0], len(shard), new[1])


def read_media_list(path: Path, modality: str) -> list[str]:
    """Return the media that a list names: JSONL, CSV (with a heading), or text, one a row."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise CacheError(f"{path}: cannot be read as a list of media: {error}") from error
    if path.suffix.lower() == ".csv":
        records: list[object] = list(csv.DictReader(text.splitlines()))
    elif path.suffix.lower() == ".jsonl":
        records = [_parsed(path, n, line) for n, line in enumerate(text.splitlines(), 1) if line]
    else:
        records = [line for line in text.splitlines() if line]
    return [_named(path, number, record, modality) for number, record in enumerate(records, 1)]


def _parsed(path: Path, number: int, line: str) -> object:
    try:
        return json.loads(line)
    except ValueError as error:
        raise CacheError(f"{path}:{number}: not JSON: {error}") from error


def _named(path: Path, number: int, record: object, modality: str) -> str:
    if isinstance(record, str | int):
        return str(record)
    columns = ("path", modality, "id")
    if isinstance(record, Mapping):
        for column in columns:
            if isinstance(record.get(column), str | int):
                return str(record[column])
    raise CacheError(f"{path}, row {number}: names no medium; one of {', '.join(columns)} expected")


def _arrays_of(files: Sequence[Path], field: str) -> dict[str, np.ndarray]:
    arrays: dict[str, np.ndarray] = {}
    for path in files:
        for name, array in read_arrays(path).items():
            if (name := name or field) in arrays:
                raise CacheError(f"{path}: array {name!r} is in another file already")
            arrays[name] = array
    return arrays


def _rows_of(
    names: list[str],
    media: Path,
    cache_root: PurePath,
    dataset: str,
    modality: str,
    data: Path | None,
    made: dict[str, bytes],
) -> _Rows:
    """Return the key of each medium: of its bytes, of the dataset's, or `made` of its name."""
    if data is not None:
        for number, name in enumerate(names, 1):
            if not (data / name).is_file():
                raise CacheError(f"{media}, row {number}: {data / name}: no such file")
        return _Rows(names, [file_sha256(data / name) for name in names])
    known = _keys_by_name(cache_root, dataset, modality)
    keys: list[bytes] = []
    for number, name in enumerate(names, 1):
        held = known.get(name)
        if held is None or len(held) > 1:
            problem = "neither a path nor an id" if held is None else "more than one medium"
            raise CacheError(
                f"{media}, row {number}: {name!r} is {problem} of dataset {dataset!r}; give the "
                "media's folder as --data, to know them by their bytes"
            )
        key = next(iter(held)) or hashlib.sha256(f"{modality}:{name}".encode()).digest()
        if None in held:
            made[name] = key
        keys.append(key)
    return _Rows(names, keys)


def _keys_by_name(
    cache_root: PurePath, dataset: str, modality: str
) -> dict[str, set[bytes | None]]:
    known: dict[str, set[bytes | None]] = {}
    for split in read_dataset(cache_root, dataset).splits:
        for example in read_examples(cache_root, dataset, split):
            for name in {example.id, example.paths.get(modality)} - {None}:
                known.setdefault(str(name), set()).add(example.media.get(modality))
    return known


def _give_keys(
    cache_root: PurePath, dataset: str, modality: str, made: Mapping[str, bytes]
) -> None:
    """Give examples whose media were never there the keys that were made of their names."""

    def with_key(example: Example) -> Example:
        key = made.get(example.paths.get(modality, "")) or made.get(example.id)
        if key is None or modality in example.media:
            return example
        return replace(example, media={**example.media, modality: key})

    info = read_dataset(cache_root, dataset)
    splits = {
        name: list(map(with_key, read_examples(cache_root, dataset, name))) for name in info.splits
    }
    modalities = info.modalities if modality in info.modalities else (*info.modalities, modality)
    info = replace(info, modalities=modalities)
    write_examples(cache_root, info, splits, read_failures(cache_root, dataset))


def _refuse_twice(rows: _Rows) -> None:
    first: dict[bytes, int] = {}
    for number, key in enumerate(rows.keys):
        if (before := first.setdefault(key, number)) != number:
            raise CacheError(
                f"rows {before + 1} ({rows.names[before]}) and {number + 1} ({rows.names[number]}) "
                "are of the same medium; keep one of them"
            )


def _shard_of(arrays: Mapping[str, np.ndarray], rows: _Rows) -> Shard:
    columns: dict[str, Column] = {}
    for name, values in arrays.items():
        if name.endswith(OFFSETS):
            if name.removesuffix(OFFSETS) not in arrays:
                raise CacheError(f"array {name!r} has no array {name.removesuffix(OFFSETS)!r}")
            continue
        offsets = arrays.get(name + OFFSETS)
        _check(name, values, offsets, rows)
        columns[name] = Column(values, None if offsets is None else offsets.astype(np.int64))
    keys = np.frombuffer(b"".join(rows.keys), dtype=np.uint8).reshape(-1, KEY_BYTES)
    return Shard(keys, columns)


def _check(name: str, values: np.ndarray, offsets: np.ndarray | None, rows: _Rows) -> None:
    if values.dtype.name not in DTYPES or values.ndim == 0:
        raise CacheError(
            f"array {name!r} is {values.dtype} {values.shape}; [n, …] expected, of one of "
            f"{', '.join(DTYPES)}"
        )
    count = len(values) if offsets is None else len(offsets) - 1
    if count != len(rows.keys):
        raise CacheError(f"array {name!r} has {count} rows, and there are {len(rows.keys)} media")
    if offsets is not None and not (
        offsets.ndim == 1
        and offsets.dtype.kind in "iu"
        and offsets[0] == 0
        and offsets[-1] == len(values)
        and bool((offsets[1:] >= offsets[:-1]).all())
    ):
        raise CacheError(f"array {name + OFFSETS!r} must rise from 0 to {len(values)}, the steps")
    ends = np.arange(1, count + 1) if offsets is None else offsets[1:]
    for start in range(0, len(values) if values.dtype.kind == "f" else 0, 4096):
        wrong = ~np.isfinite(values[start : start + 4096]).reshape(
            len(values[start : start + 4096]), -1
        )
        if wrong.any():
            step = start + int(np.flatnonzero(wrong.any(axis=1))[0])
            row = int(np.searchsorted(ends, step, side="right"))
            raise FeatureNotFinite(
                f"array {name!r}, row {row + 1} ({rows.names[row]}): holds NaN or infinite values"
            )


def _spec(name: str, column: Column) -> FieldSpec:
    values = column.values
    return FieldSpec(name, values.dtype.name, values.shape[1:], ragged=column.offsets is not None)


def _write(shard: Shard, manifest: Manifest, cache_root: PurePath) -> tuple[PurePath, int]:
    """Write what is not there yet, in shards of a usual size; return where, and how many rows."""
    size_bytes = sum(column.values.nbytes for column in shard.columns.values())
    step = max(1, len(shard) * _SHARD_BYTES // max(size_bytes, 1))
    new = 0
    with FeatureWriter(cache_root, manifest) as writer:
        for start in range(0, len(shard), step):
            part = part_of(shard, start, min(start + step, len(shard)))
            if set(unpack_keys(part.keys)) - writer.done:
                writer.add(Commit(part.keys.tobytes()), part)
                new += len(part)
        if BLANK_KEY not in writer.done:  # what an unknown encoder makes of nothing is not known
            writer.append(BLANK_KEY, {spec.name: _zeros(spec) for spec in manifest.fields})
    return writer.path, new


def _zeros(spec: FieldSpec) -> np.ndarray:
    return np.zeros((1, *spec.shape) if spec.ragged else spec.shape, dtype=spec.dtype)
