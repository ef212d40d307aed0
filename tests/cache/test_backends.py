"""One suite for every file format."""

import os
from pathlib import Path

import numpy as np
import pytest

from promptfuse.cache.backends import BACKENDS, backend_of, format_of, open_shard
from promptfuse.cache.manifest import DTYPES, FieldSpec
from promptfuse.cache.shard import Column, Shard, check_shard
from promptfuse.errors import CacheError, ShardCorrupt, UnknownName


def keys_of(rows: int) -> np.ndarray:
    return np.random.default_rng(rows).integers(0, 256, (rows, 32)).astype(np.uint8)


def column_of(lengths: list[int] | int, shape: tuple[int, ...], dtype: str) -> Column:
    steps = lengths if isinstance(lengths, int) else sum(lengths)
    numbers = np.random.default_rng(steps).integers(0, 100, (steps, *shape))
    if isinstance(lengths, int):
        return Column(numbers.astype(dtype))
    return Column(numbers.astype(dtype), np.cumsum([0, *lengths], dtype=np.int64))


def assert_same(found: Column, expected: Column) -> None:
    assert found.values.dtype == expected.values.dtype
    assert found.values.shape == expected.values.shape
    assert found.values.tobytes() == expected.values.tobytes()
    assert (found.offsets is None) == (expected.offsets is None)
    if expected.offsets is not None:
        np.testing.assert_array_equal(found.offsets, expected.offsets)


@pytest.fixture
def path(tmp_path: Path, file_format: str) -> Path:
    return tmp_path / f"shard-00000{BACKENDS[file_format].extension}"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (3,), (2, 3, 4)])
def test_every_dtype_and_shape_comes_back(path: Path, file_format: str, dtype: str, shape):
    columns = {
        "ragged": column_of([2, 0, 3, 1], shape, dtype),
        "fixed": column_of(4, shape, dtype),
    }
    backend_of(file_format).write(path, Shard(keys_of(4), columns))
    shard = open_shard(path)
    assert shard.about == ""
    np.testing.assert_array_equal(shard.keys, keys_of(4))
    assert list(shard.columns) == ["ragged", "fixed"]
    for name, column in columns.items():
        assert_same(shard.columns[name], column)
    fields = (FieldSpec("ragged", dtype, shape, ragged=True), FieldSpec("fixed", dtype, shape))
    check_shard(path, shard, fields, rows=4)


@pytest.mark.parametrize("lengths", [[], [0], [0, 0, 0]])
def test_nothing_comes_back_as_nothing(path: Path, file_format: str, lengths: list[int]):
    rows = len(lengths)
    columns = {"a": column_of(lengths, (2, 3), "float16"), "b": column_of(rows, (5,), "int16")}
    backend_of(file_format).write(path, Shard(keys_of(rows), columns))
    shard = open_shard(path)
    assert shard.keys.shape == (rows, 32)
    for name, column in columns.items():
        assert_same(shard.columns[name], column)
    fields = (FieldSpec("a", "float16", (2, 3), ragged=True), FieldSpec("b", "int16", (5,)))
    check_shard(path, shard, fields, rows=rows)


def test_special_values_keep_their_bits(path: Path, file_format: str):
    bits = np.array([0x0001, 0x8000, 0x7BFF, 0x7C00, 0xFC00, 0x7E01], dtype=np.uint16)
    values = bits.view(np.float16).reshape(6, 1)
    backend_of(file_format).write(path, Shard(keys_of(6), {"v": Column(values)}))
    np.testing.assert_array_equal(open_shard(path).columns["v"].values.view(np.uint16)[:, 0], bits)


def test_same_rows_give_the_same_bytes(tmp_path: Path, path: Path, file_format: str):
    write = backend_of(file_format).write
    columns = {"a": column_of([2, 0, 3], (7,), "float16"), "b": column_of(3, (2,), "float32")}
    write(path, Shard(keys_of(3), columns, "about"))
    again = tmp_path / "again"
    junk = [os.urandom(1 << 20) for _ in range(8)]  # so that stale memory, if written, differs
    write(again, Shard(keys_of(3), columns, "about"))
    assert len(junk) == 8
    assert path.read_bytes() == again.read_bytes()
    assert open_shard(path).about == "about"


def test_arrays_are_read_only_maps_without_an_open_file(path: Path, file_format: str):
    columns = {"a": column_of([1, 2], (3,), "float32")}
    backend_of(file_format).write(path, Shard(keys_of(2), columns))
    shard = open_shard(path)
    descriptors = Path("/proc/self/fd").iterdir()
    assert path not in [fd.readlink() for fd in descriptors if fd.is_symlink()]
    assert not shard.columns["a"].values.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        shard.columns["a"].values[0] = 0
    path.unlink()  # a map outlives its file's name
    assert_same(shard.columns["a"], columns["a"])


@pytest.mark.parametrize(
    "content", [b"", b"not a shard", b"ARROW1\0\0" * 9, b"\x89HDF\r\n\x1a\n" * 9]
)
def test_what_is_no_shard_is_named(path: Path, content: bytes):
    path.write_bytes(content)
    with pytest.raises(ShardCorrupt, match=r"shard-00000\.\w+: not an? \w+ shard"):
        open_shard(path)


def test_every_truncation_is_noticed(path: Path, file_format: str):
    backend_of(file_format).write(
        path, Shard(keys_of(2), {"a": column_of([1, 2], (3,), "float32")})
    )
    whole = path.read_bytes()
    for length in range(0, len(whole) - 1, max(1, len(whole) // 50)):
        path.write_bytes(whole[:length])
        with pytest.raises(ShardCorrupt, match=path.name):
            open_shard(path)


def test_a_shard_that_is_not_what_was_asked_for_is_refused(path: Path, file_format: str):
    backend_of(file_format).write(
        path, Shard(keys_of(2), {"a": column_of([1, 2], (3,), "float32")})
    )
    shard = open_shard(path)
    good = FieldSpec("a", "float32", (3,), ragged=True)
    check_shard(path, shard, (good,), rows=2)
    for fields, rows, message in [
        ((good,), 3, "3 rows were committed, 2 are there"),
        ((FieldSpec("b", "float32", (3,)),), 2, r"fields \['a'\] found, \['b'\] expected"),
        ((FieldSpec("a", "float16", (3,), ragged=True),), 2, "float16"),
        ((FieldSpec("a", "float32", (4,), ragged=True),), 2, r"\(4,\)"),
        ((FieldSpec("a", "float32", (3,)),), 2, r"\('float32', \(3,\), True\)"),
    ]:
        with pytest.raises(ShardCorrupt, match=message):
            check_shard(path, shard, fields, rows=rows)


@pytest.mark.parametrize("offsets", [[0, 1], [1, 1, 3], [0, 4, 3], [0, 1, 2]])
def test_malformed_offsets_are_refused(path: Path, file_format: str, offsets: list[int]):
    column = Column(np.zeros((3, 2), np.float32), np.array([0, 1, 3]))
    backend_of(file_format).write(path, Shard(keys_of(2), {"a": column}))
    shard = open_shard(path)
    bad = Column(shard.columns["a"].values, np.array(offsets))
    object.__setattr__(shard, "columns", {"a": bad})
    with pytest.raises(ShardCorrupt, match="'a' does not have 2 well-formed rows"):
        check_shard(path, shard, (FieldSpec("a", "float32", (2,), ragged=True),), rows=2)


def test_unknown_formats_list_the_known_ones():
    with pytest.raises(UnknownName, match="unknown format 'lance'; choose one of: arrow, hdf5"):
        backend_of("lance")
    with pytest.raises(CacheError, match=r"shard-00000\.zip: no format"):
        format_of("shard-00000.zip")
    assert [format_of(f"x{backend.extension}") for backend in BACKENDS.values()] == list(BACKENDS)


def test_every_flipped_byte_of_an_arrow_shard_is_named_or_harmless(tmp_path: Path):
    path = tmp_path / "shard-00000.arrow"
    columns = {"a": column_of([1, 2], (3,), "float32"), "b": column_of(2, (2,), "int8")}
    backend_of("arrow").write(path, Shard(keys_of(2), columns, "about"))
    whole = path.read_bytes()
    outcomes = set()
    for place in range(len(whole)):
        for bits in (1, 0x80, 0xFF):
            changed = bytes([whole[place] ^ bits])
            path.write_bytes(whole[:place] + changed + whole[place + 1 :])
            try:
                shard = open_shard(path)
                outcomes.add(
                    all(column.values.sum() is not None for column in shard.columns.values())
                )
            except ShardCorrupt:
                outcomes.add("named")
    assert outcomes == {True, "named"}
