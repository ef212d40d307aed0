"""Feature sets as files that other tools read: safetensors (which `import` takes) or Parquet."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors.numpy import save_file

from ..errors import CacheError
from .atomic import make_folder, replacing
from .example_table import ExampleTable
from .importing import KEYS, OFFSETS
from .keys import KEY_BYTES, unpack_keys
from .manifest import FieldSpec
from .rows import offsets_of
from .shard import Column, Shard
from .store import FeatureSet

FileFormat = Literal["safetensors", "parquet"]

_ROWS_AT_ONCE = 1024


def export_features(
    features: FeatureSet,
    folder: Path,
    *,
    format: FileFormat = "safetensors",  # noqa: A002  (the word users type)
    fields: Sequence[str] = (),
    splits: Mapping[str, ExampleTable] | None = None,
) -> list[Path]:
    """Write a feature set into a folder and return the files: one, or one a split.

    Each holds keys `[n, 32] uint8`, the fields `[n, *shape]`, of ragged ones `[steps, *shape]` and
    offsets `[n + 1]`, and of a split the ids of each medium's examples.

    Args:
        features: The set.
        folder: Where to, made if it is not there; files of the same names are replaced.
        format: Of the files.
        fields: Those to write, by default all.
        splits: The examples by split, to write one file of each split's media, in their order.

    Raises:
        CacheError: If a field is not there, or no medium of a split has a row.
    """
    specs = tuple(features.manifest.field(name) for name in fields or features.manifest.names)
    make_folder(folder)
    written: list[Path] = []
    for split, rows, ids in _parts(features, splits):
        name = "-".join([features.modality, features.fingerprint, *([split] if split else [])])
        written.append(folder / f"{name}.{format}")
        with replacing(written[-1]) as temporary:
            write = _write_safetensors if format == "safetensors" else _write_parquet
            write(temporary, features, specs, rows, ids)
    return written


def _parts(
    features: FeatureSet, splits: Mapping[str, ExampleTable] | None
) -> Iterator[tuple[str, np.ndarray, list[list[str]]]]:
    """Yield the name, the rows, and each row's examples of each file."""
    if splits is None:
        yield "", np.arange(len(features)), [[] for _ in range(len(features))]
    for split, table in (splits or {}).items():
        named: dict[bytes, list[str]] = {}
        for id_, key in zip(table.ids, table.keys(features.modality), strict=True):
            if key is not None:
                named.setdefault(key, []).append(id_)
        found = features.find(list(named))
        if not (found >= 0).any():
            raise CacheError(
                f"{features.path}: no medium of split {split!r} has a row; "
                f"run: pfcli extract --modality {features.modality}"
            )
        pairs = zip(found.tolist(), named.values(), strict=True)
        yield split, found[found >= 0], [ids for row, ids in pairs if row >= 0]


def _about(features: FeatureSet) -> dict[str, str]:
    manifest = features.manifest
    return {
        "modality": manifest.modality,
        "fingerprint": manifest.fingerprint,
        "identity": json.dumps(manifest.identity, sort_keys=True),
    }


def _write_safetensors(
    path: Path,
    features: FeatureSet,
    specs: Sequence[FieldSpec],
    rows: np.ndarray,
    ids: list[list[str]],
) -> None:
    arrays = {KEYS: features.take(rows, ()).keys}
    for spec in specs:
        packed = features.read_rows(rows, spec.name)
        arrays[spec.name] = packed.values
        if spec.ragged:
            arrays[spec.name + OFFSETS] = packed.offsets
    save_file(arrays, path, {**_about(features), "ids": json.dumps(ids)})


def _write_parquet(
    path: Path,
    features: FeatureSet,
    specs: Sequence[FieldSpec],
    rows: np.ndarray,
    ids: list[list[str]],
) -> None:
    columns = [pa.field("key", pa.binary(KEY_BYTES)), pa.field("ids", pa.list_(pa.string()))]
    for spec in specs:
        said = {"shape": json.dumps(spec.shape), "ragged": json.dumps(spec.ragged)}
        kind = pa.large_list(pa.from_numpy_dtype(np.dtype(spec.dtype)))
        columns.append(pa.field(spec.name, kind, metadata=said))
    schema = pa.schema(columns, metadata=_about(features))
    with pq.ParquetWriter(path, schema) as writer:
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            part = slice(start, start + _ROWS_AT_ONCE)
            shard = features.take(rows[part], [spec.name for spec in specs])
            writer.write_batch(_batch(shard, ids[part], schema))


def _batch(shard: Shard, ids: list[list[str]], schema: pa.Schema) -> pa.RecordBatch:
    lists = [_lists(column) for column in shard.columns.values()]
    keys = pa.array(unpack_keys(shard.keys), pa.binary(KEY_BYTES))
    said = [keys, pa.array(ids, pa.list_(pa.string())), *lists]
    return pa.record_batch(said, schema=schema)


def _lists(column: Column) -> pa.Array:
    """Return each row's values as one flat list."""
    offsets = offsets_of(column) * math.prod(column.values.shape[1:])
    return pa.LargeListArray.from_arrays(pa.array(offsets), pa.array(column.values.reshape(-1)))
