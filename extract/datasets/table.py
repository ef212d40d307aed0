"""Any table of examples: JSON Lines, CSV or Parquet, one row an example."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...cache.example_batches import UniqueIds
from ...cache.example_table import DatasetInfo, Example
from ...cache.modalities import in_order
from ...errors import AnnotationInvalid, ConfigError, DatasetMissing
from .annotations import RawDataset, Record
from .cells import COLUMNS, Cells
from .paths import Getter
from .records import TABLES, read_records
from .spool import spooled

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
    splits = spooled(name or path.stem, _examples(path, _cells(names, labels), used))
    if not splits:
        raise AnnotationInvalid(f"{path}: holds no row")
    task, named = "label" if labels else "text", name or path.stem
    info = DatasetInfo(named, "table", task, tuple(labels), positive, modalities=in_order(used))
    return RawDataset(info, splits, path.parent)


def files(root: Path, *, file: str | None = None, **_: object) -> list[Path]:
    """Return the table."""
    return [_find(root, file)]


def _cells(names: Mapping[str, str], labels: Sequence[str]) -> Cells:
    """Return how a row under these names becomes an example."""
    known = frozenset(names.values())

    def column(name: str) -> Getter:
        return lambda record: None if (cell := record.fields.get(name)) == "" else cell

    def meta(record: Record) -> dict[str, str]:
        fields = record.fields.items()
        return {n: _as_text(v) for n, v in fields if v is not None and n not in known}

    return Cells(
        getters={name: column(field) for name, field in names.items()},
        names=names,
        labels=frozenset(labels),
        meta=meta,
        absent=lambda name: f"; if one of them is meant, say so: --column {name}=NAME",
    )


def _examples(path: Path, cells: Cells, used: set[str]) -> Iterator[tuple[str, Example]]:
    """Yield each row's split and example, and note the modalities of its media."""
    ids = UniqueIds()
    for row in read_records(path):
        example = cells.example(row)
        ids.add((example.id,))
        used.update(example.paths)
        yield cells.split(row) or _DEFAULT_SPLIT, example
    if (twice := ids.repeated(cells.needed(row, "id") for row in read_records(path))) is not None:
        rows = (row for row in read_records(path) if cells.needed(row, "id") == twice)
        first, second, *_ = rows
        raise second.invalid(f"id {twice!r} comes twice, first at {first.where}")


def _find(root: Path, file: str | None) -> Path:
    if file is not None or root.is_file():
        path = root / file if file is not None else root
        if not path.is_file():
            raise DatasetMissing(f"{path}: no such table")
        if path.suffix.lower() not in TABLES:
            raise DatasetMissing(f"{path}: a table ends in one of {', '.join(TABLES)}")
        return path
    tables = sorted(p for p in root.iterdir() if p.suffix.lower() in TABLES and p.is_file())
    if len(tables) != 1:
        what = ", ".join(table.name for table in tables) or "none"
        raise DatasetMissing(
            f"{root}: expected one table ({', '.join(TABLES)}), found {what}; name it with `file`"
        )
    return tables[0]


def _as_text(value: Any) -> str:
    if isinstance(value, bytes):
        return f"<{len(value)} bytes>"
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)
