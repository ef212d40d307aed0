"""Files of records, a reader a format: JSON, JSON Lines, CSV, Parquet, and Arrow of `datasets`."""

import csv
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ...errors import AnnotationInvalid
from .annotations import Record, as_record, stream_records
from .json_stream import StrictDecoder

KEY = "key"
"""The field that a record of a JSON object has of its name there."""


def read_records(path: Path, at: str = "") -> Iterator[Record]:
    """Yield the records of a file, whose format its suffix says.

    `at` is where a JSON file has them: the names that lead to a list, or to an object whose values
    they are, joined by "/"; in such an object each record has its name as the field `KEY`.
    """
    if path.suffix.lower() == ".json":
        return _read_json(path, at)
    return READERS[path.suffix.lower()](path)


def _read_json(path: Path, at: str) -> Iterator[Record]:
    file = str(path)
    for place, (key, value) in enumerate(stream_records(path, at)):
        if key is None:
            yield as_record(value, f"{file}: {at or 'record'} {place}")
        else:
            record = as_record(value, f"{file}: {key!r}")
            yield Record({KEY: key, **record.fields}, record.where)


def _read_jsonl(path: Path) -> Iterator[Record]:
    decoder, name = StrictDecoder(), str(path)
    for number, line in enumerate(_lines(path), start=1):
        if line.strip():
            where = f"{name}:{number}"
            try:
                content = decoder.decode(line)
            except (ValueError, RecursionError) as error:
                raise AnnotationInvalid(f"{where}: not JSON: {error}") from error
            yield as_record(content, where)


def _read_csv(path: Path, delimiter: str = ",") -> Iterator[Record]:
    reader = csv.reader(_lines(path), strict=True, delimiter=delimiter)
    try:
        header = next(reader, [])
        _require_unique(header, path)
        for cells in reader:
            where = f"{path}:{reader.line_num}"
            if cells and len(cells) != len(header):
                raise AnnotationInvalid(
                    f"{where}: {len(cells)} cells under a header of {len(header)}"
                )
            if cells:
                yield Record(dict(zip(header, cells, strict=True)), where)
    except csv.Error as error:
        raise AnnotationInvalid(f"{path}:{reader.line_num}: not CSV: {error}") from error


def _read_tsv(path: Path) -> Iterator[Record]:
    return _read_csv(path, "\t")


def _require_unique(columns: Sequence[str], path: Path) -> None:
    name, count = max(Counter(columns).items(), key=lambda pair: pair[1], default=("", 0))
    if count > 1:
        raise AnnotationInvalid(f"{path}: column {name!r} comes {count} times; rename or drop it")


def _lines(path: Path) -> Iterator[str]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            yield from stream
    except UnicodeDecodeError as error:
        raise AnnotationInvalid(f"{path}: not UTF-8 text: {error.reason}") from error


def _read_words(path: Path) -> Iterator[Record]:
    """Yield a text file's lines, its words as the fields "0", "1" and so on."""
    for number, line in enumerate(_lines(path), start=1):
        if words := line.split():
            yield Record({str(place): word for place, word in enumerate(words)}, f"{path}:{number}")


def _read_parquet(path: Path) -> Iterator[Record]:
    try:
        with pq.ParquetFile(path) as file:
            _require_unique(file.schema_arrow.names, path)
            yield from _rows(file.iter_batches(), path)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise AnnotationInvalid(f"{path}: not a Parquet table: {error}") from error


def _read_arrow(path: Path) -> Iterator[Record]:
    try:
        with pa.memory_map(str(path)) as file, pa.ipc.open_stream(file) as batches:
            _require_unique(batches.schema.names, path)
            yield from _rows(batches, path)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise AnnotationInvalid(f"{path}: not an Arrow stream: {error}") from error


def _rows(batches: Any, path: Path) -> Iterator[Record]:
    number = 0
    for batch in batches:
        names = batch.schema.names
        columns = [_values(batch[name], f"{path}: column {name!r}") for name in names]
        for cells in zip(*columns, strict=True):
            yield Record(dict(zip(names, cells, strict=True)), f"{path}: row {number}")
            number += 1


def _values(column: pa.Array, where: str) -> list[Any]:
    """Return a column's values, times in nanoseconds as text: Python has none, nor a year 10000."""
    try:
        column.validate(full=True)
        is_fine = pa.types.is_temporal(column.type) and getattr(column.type, "unit", "") == "ns"
        return (column.cast(pa.string()) if is_fine else column).to_pylist()
    except (ValueError, OverflowError, KeyError, NotImplementedError) as error:
        kind = f"a value of its type {column.type} cannot be read"
        raise AnnotationInvalid(f"{where}: {kind}: {error}; drop it, or store text") from error


TABLES: dict[str, Callable[[Path], Iterator[Record]]] = {
    ".jsonl": _read_jsonl,
    ".csv": _read_csv,
    ".tsv": _read_tsv,
    ".parquet": _read_parquet,
}
"""Formats of which a file alone is a table of examples."""

READERS = TABLES | {".arrow": _read_arrow, ".txt": _read_words}
