"""Any table of examples: JSON Lines, CSV or Parquet, one row an example."""

import csv
import json
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ...cache.example_batches import UniqueIds
from ...cache.example_table import DatasetInfo, Example
from ...cache.modalities import MODALITIES, in_order
from ...errors import AnnotationInvalid, ConfigError, DatasetMissing
from .annotations import RawDataset, Record, as_record, shorten
from .json_stream import StrictDecoder
from .spool import spooled

COLUMNS = (
    "id", "text", "answer", "answers", "answer_type", "question_type", "split",
    *MODALITIES, "start_seconds", "end_seconds",
)  # fmt: skip
_DEFAULT_SPLIT = "train"


def read(
    root: Path,
    *,
    name: str | None = None,
    file: str | None = None,
    columns: Mapping[str, str] | None = None,
    labels: Sequence[str] = (),
    positive: str | None = None,
) -> RawDataset:
    """Return the rows of a table as examples.

    Columns: `id`, `text`; optionally the others of `COLUMNS`: `answers` is a list (in CSV a JSON
    list), media are paths relative to the folder, `start_seconds` and `end_seconds` the part of
    its video and audio, `split` is `train` where it is absent. The rest becomes its meta.

    Args:
        root: The folder of the table and its media, or the table itself.
        name: In the cache; the file's stem by default.
        file: The table's name in the folder; needed where the folder holds several.
        columns: Names above → names in this table, such as `{"text": "question"}`.
        labels: The closed set of answers; with it the task is `label`, without it `text`.
        positive: The label that counts as positive in precision and recall.
    """
    names = {column: column for column in COLUMNS} | dict(columns or {})
    if unknown := [column for column in names if column not in COLUMNS]:
        raise ConfigError(f"columns: no column {unknown[0]!r}; there are: {', '.join(COLUMNS)}")
    if isinstance(labels, str):
        raise ConfigError(f"labels is a list of texts, not {labels!r}")
    if positive is not None and positive not in labels:
        raise ConfigError(f"positive label {positive!r} is not one of the labels {list(labels)}")
    path = _find(root, file)
    used: set[str] = set()
    splits = spooled(name or path.stem, _examples(path, names, frozenset(labels), used))
    if not splits:
        raise AnnotationInvalid(f"{path}: holds no row")
    task, named = "label" if labels else "text", name or path.stem
    info = DatasetInfo(named, "table", task, tuple(labels), positive, modalities=in_order(used))
    return RawDataset(info, splits, path.parent)


def files(root: Path, *, file: str | None = None, **_: object) -> list[Path]:
    """Return the table."""
    return [_find(root, file)]


def _examples(
    path: Path, names: Mapping[str, str], labels: frozenset[str], used: set[str]
) -> Iterator[tuple[str, Example]]:
    """Yield each row's split and example, and note the modalities of its media."""
    ids = UniqueIds()
    for row in _rows(path, names):
        split, example = _split_and_example(row, labels)
        ids.add((example.id,))
        used.update(example.paths)
        yield split, example
    if (twice := ids.repeated(row.needed("id") for row in _rows(path, names))) is not None:
        first, second, *_ = (row for row in _rows(path, names) if row.needed("id") == twice)
        raise second.invalid(f"id {twice!r} comes twice, first at {first.where}")


def _rows(path: Path, names: Mapping[str, str]) -> Iterator["_Row"]:
    known = frozenset(names.values())
    for record in _READERS[path.suffix.lower()](path):
        yield _Row(record.fields, record.where, names, known)


def _find(root: Path, file: str | None) -> Path:
    if file is not None or root.is_file():
        path = root / file if file is not None else root
        if not path.is_file():
            raise DatasetMissing(f"{path}: no such table")
        if path.suffix.lower() not in _READERS:
            raise DatasetMissing(f"{path}: a table ends in one of {', '.join(_READERS)}")
        return path
    tables = sorted(p for p in root.iterdir() if p.suffix.lower() in _READERS and p.is_file())
    if len(tables) != 1:
        what = ", ".join(table.name for table in tables) or "none"
        raise DatasetMissing(
            f"{root}: expected one table ({', '.join(_READERS)}), found {what}; name it with `file`"
        )
    return tables[0]


@dataclass(frozen=True, slots=True)
class _Row(Record):
    """A row seen under this module's column names."""

    names: Mapping[str, str]
    known: frozenset[str]

    def value(self, column: str) -> Any:
        """Return a cell; None for an absent column, an empty cell and NaN."""
        value = self.fields.get(self.names[column])
        if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
            return None
        return value

    def text(self, column: str) -> str | None:
        """Return a cell as text; numbers and true or false are written out."""
        value = self.value(column)
        if value is None or isinstance(value, str):
            return value
        if not isinstance(value, bool | int | float):
            raise self.wrong(self.names[column], "text")
        return str(value)

    def needed(self, column: str) -> str:
        """Return a cell as text; a row without it is wrong."""
        value = self.text(column)
        if value is None:
            raise self.invalid(
                f"lacks the field {self.names[column]!r}; it has: {', '.join(self.fields)}; "
                f"if one of them is meant, say so: --column {column}=NAME"
            )
        return value

    def seconds(self, column: str) -> float | None:
        """Return a cell as seconds."""
        value = self.value(column)
        try:
            return None if value is None else float(value)
        except (TypeError, ValueError, OverflowError) as error:
            raise self.wrong(self.names[column], "seconds") from error

    def meta(self) -> dict[str, str]:
        """Return the cells of all other columns, as text."""
        return {
            name: _as_text(value)
            for name, value in self.fields.items()
            if value is not None and name not in self.known
        }


def _as_text(value: Any) -> str:
    if isinstance(value, bytes):
        return f"<{len(value)} bytes>"
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)


def _split_and_example(row: _Row, labels: frozenset[str]) -> tuple[str, Example]:
    answers = _answers(row)
    answer = row.text("answer")
    if answer is None and answers:
        answer = Counter(answers).most_common(1)[0][0]
    if labels and answer is not None and answer not in labels:
        raise row.invalid(f"answer {shorten(answer)} is not one of the labels {sorted(labels)}")
    example = Example(
        id=row.needed("id"),
        text=row.needed("text"),
        answer=answer,
        answers=answers or (() if answer is None else (answer,)),
        answer_type=row.text("answer_type"),
        question_type=row.text("question_type"),
        paths=_media(row),
        span_seconds=_span(row),
        meta=row.meta(),
    )
    return row.text("split") or _DEFAULT_SPLIT, example


def _media(row: _Row) -> dict[str, str]:
    paths = {name: path for name in MODALITIES if (path := row.value(name)) is not None}
    for modality, path in paths.items():
        if not isinstance(path, str):
            raise row.wrong(row.names[modality], "a path")
    return paths


def _answers(row: _Row) -> tuple[str, ...]:
    value = row.value("answers")
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError) as error:
            raise row.wrong(row.names["answers"], f"a JSON list ({error})") from error
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(a, str | int | float) for a in value):
        raise row.wrong(row.names["answers"], "a list of texts")
    return tuple(map(str, value))


def _span(row: _Row) -> tuple[float, float] | None:
    start, end = row.seconds("start_seconds"), row.seconds("end_seconds")
    if start is None and end is None:
        return None
    if end is None:
        raise row.invalid("has start_seconds without end_seconds")
    start = start or 0.0
    if not (math.isfinite(end) and 0 <= start < end):
        raise row.invalid(f"a span is 0 <= start < end in seconds, not [{start}, {end})")
    return (start, end)


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


def _read_csv(path: Path) -> Iterator[Record]:
    reader = csv.reader(_lines(path), strict=True)
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


def _read_parquet(path: Path) -> Iterator[Record]:
    number = 0
    try:
        with pq.ParquetFile(path) as file:
            _require_unique(file.schema_arrow.names, path)
            for batch in file.iter_batches():
                names = batch.schema.names
                columns = [_values(batch[name], f"{path}: column {name!r}") for name in names]
                for cells in zip(*columns, strict=True):
                    yield Record(dict(zip(names, cells, strict=True)), f"{path}: row {number}")
                    number += 1
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise AnnotationInvalid(f"{path}: not a Parquet table: {error}") from error


def _values(column: pa.Array, where: str) -> list[Any]:
    """Return a column's values, times in nanoseconds as text: Python has none, nor a year 10000."""
    try:
        column.validate(full=True)
        is_fine = pa.types.is_temporal(column.type) and getattr(column.type, "unit", "") == "ns"
        return (column.cast(pa.string()) if is_fine else column).to_pylist()
    except (ValueError, OverflowError, KeyError, NotImplementedError) as error:
        kind = f"a value of its type {column.type} cannot be read"
        raise AnnotationInvalid(f"{where}: {kind}: {error}; drop it, or store text") from error


_READERS: dict[str, Callable[[Path], Iterator[Record]]] = {
    ".jsonl": _read_jsonl,
    ".csv": _read_csv,
    ".parquet": _read_parquet,
}
