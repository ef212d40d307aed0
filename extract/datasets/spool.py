"""Examples as adapters give them, in a temporary file once they are many."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from tempfile import SpooledTemporaryFile, gettempdir
from typing import Any, overload

import pyarrow as pa

from ...cache.example_batches import BATCH_ROWS, said_columns
from ...cache.example_table import Example, example_of
from ...cache.modalities import MODALITIES
from ...errors import CacheError

SPAN_COLUMNS = ("start_seconds", "end_seconds")
_MEMORY_BYTES = 16 * 2**20


class Spool(Sequence[Example]):
    """The examples of one split; what does not fit into some megabytes lies in a file.

    Args:
        where: What they belong to, for messages.
    """

    def __init__(self, where: str) -> None:
        self._where = where
        self._file = SpooledTemporaryFile(_MEMORY_BYTES)  # noqa: SIM115  # closed when forgotten
        self._waiting: list[Example] = []
        self._writer: pa.RecordBatchFileWriter | None = None
        self._rows = 0

    def append(self, example: Example) -> None:
        """Add an example; all are added before any is read."""
        self._waiting.append(example)
        if len(self._waiting) == BATCH_ROWS:
            self._flush()

    def finish(self) -> None:
        """Note that all have been added."""
        if self._waiting or self._writer is None:
            self._flush()
        self._writer.close()  # pyright: ignore[reportOptionalMemberAccess]
        self._reader = pa.ipc.open_file(pa.PythonFile(self._file, "r"))
        pa.default_memory_pool().release_unused()  # what parsing took, which it would keep

    def _flush(self) -> None:
        self.write(columns_of(self._waiting, self._where))
        self._waiting.clear()

    def write(self, batch: pa.RecordBatch) -> None:
        """Add a batch of `columns_of`, of `BATCH_ROWS` but for the last."""
        try:
            if self._writer is None:
                self._writer = pa.ipc.new_file(pa.PythonFile(self._file, "w"), batch.schema)
            self._writer.write_batch(batch)
        except OSError as error:
            raise CacheError(
                f"{self._where}: the temporary folder {gettempdir()} cannot take its examples: "
                f"{error}; set TMPDIR to a folder with more room"
            ) from error
        self._rows += batch.num_rows

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield what `columns_of` makes of the examples, in their order."""
        for number in range(self._reader.num_record_batches):
            yield self._reader.get_batch(number)

    def __len__(self) -> int:
        return self._rows

    def __iter__(self) -> Iterator[Example]:
        for batch in self.batches():
            yield from map(_example, batch.to_pylist())

    @overload
    def __getitem__(self, index: int) -> Example: ...
    @overload
    def __getitem__(self, index: slice) -> list[Example]: ...
    def __getitem__(self, index: int | slice) -> Example | list[Example]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        number, place = divmod(range(len(self))[index], BATCH_ROWS)
        (row,) = self._reader.get_batch(number).slice(place, 1).to_pylist()
        return _example(row)


def spooled(dataset: str, examples: Iterable[tuple[str, Example]]) -> dict[str, Spool]:
    """Return examples by split, which each comes with."""
    spools: dict[str, Spool] = {}
    for split, example in examples:
        if split not in spools:
            spools[split] = Spool(f"dataset {dataset!r}, split {split!r}")
        spools[split].append(example)
    for spool in spools.values():
        spool.finish()
    return spools


def raw_batches(examples: Sequence[Example], where: str) -> Iterator[pa.RecordBatch]:
    """Yield what `columns_of` makes of examples, batch by batch."""
    if isinstance(examples, Spool):
        yield from examples.batches()
        return
    for start in range(0, len(examples), BATCH_ROWS):
        yield columns_of(examples[start : start + BATCH_ROWS], where)


def batch_saying(rows: int, columns: Mapping[str, pa.Array]) -> pa.RecordBatch:
    """Return what `columns_of` gives of examples that say no more than these columns do."""
    schema = columns_of([], "").schema
    nothing = {name: pa.array([()] * rows, schema.field(name).type) for name in ("answers", "meta")}
    full = {field.name: pa.nulls(rows, field.type) for field in schema} | nothing | {**columns}
    return pa.record_batch(full, schema)


def columns_of(examples: Sequence[Example], where: str) -> pa.RecordBatch:
    """Return examples with the paths of media of all modalities and their spans."""
    columns = said_columns(examples, where, MODALITIES)
    spans = [example.span_seconds or (None, None) for example in examples]
    for place, name in enumerate(SPAN_COLUMNS):
        columns[name] = pa.array([span[place] for span in spans], pa.float64())
    return pa.record_batch(columns)


def _example(row: dict[str, Any]) -> Example:
    start, end = (row.pop(name) for name in SPAN_COLUMNS)
    return replace(example_of(row), span_seconds=None if end is None else (start, end))
