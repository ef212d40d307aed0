"""Feature sets of every kind of field, small enough to write in milliseconds."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from promptfuse.cache.backends import open_shard
from promptfuse.cache.checked import MEMO_NAME
from promptfuse.cache.manifest import FieldSpec, Manifest
from promptfuse.cache.store import FeatureWriter

FIELDS = (
    FieldSpec("pooler", "float16", (4,)),
    FieldSpec("frames", "float32", (2, 3), ragged=True),
    FieldSpec("pixels", "uint8", (2, 2, 3)),
    FieldSpec("samples", "int16", (), ragged=True),
    FieldSpec("count", "int64", ()),
)

Row = dict[str, np.ndarray]
Rows = dict[bytes, Row]


@pytest.fixture(params=["arrow", "hdf5"])
def file_format(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def other_format(file_format: str) -> str:
    return {"arrow": "hdf5", "hdf5": "arrow"}[file_format]


@pytest.fixture
def manifest() -> Manifest:
    identity = {"id": "tiny/encoder", "preprocessing": {"frames": 8, "size": [4, 4]}}
    return Manifest("video", identity, FIELDS, provenance={"promptfuse": "0.1.0"})


@pytest.fixture
def make_rows() -> Callable[..., Rows]:
    return rows_of


def rows_of(count: int, *, seed: int = 0) -> Rows:
    """Rows whose ragged fields often have no step at all; row 2's key ends in zero bytes."""
    rng = np.random.default_rng(seed)
    rows: Rows = {}
    for number in range(count):
        key = hashlib.sha256(f"{seed}-{number}".encode()).digest()
        if number == 2:
            key = key[:28] + bytes(4)
        rows[key] = {
            "pooler": rng.normal(size=4).astype(np.float16),
            "frames": rng.normal(size=(rng.integers(0, 3), 2, 3)).astype(np.float32),
            "pixels": rng.integers(0, 256, size=(2, 2, 3)).astype(np.uint8),
            "samples": rng.integers(-(2**15), 2**15, size=rng.integers(0, 4)).astype(np.int16),
            "count": np.array(rng.integers(-(2**62), 2**62), dtype=np.int64),
        }
    return rows


@pytest.fixture
def write_set(tmp_path: Path, manifest: Manifest) -> Callable[..., Path]:
    def write(rows: Rows, *, shard_rows: int = 4, **options) -> Path:
        with FeatureWriter(tmp_path, manifest, **options) as writer:
            for number, (key, row) in enumerate(rows.items(), start=1):
                writer.append(key, row)
                if number % shard_rows == 0:
                    writer.commit()
        return writer.path

    return write


@pytest.fixture
def assert_holds() -> Callable[..., None]:
    return check_rows


def check_rows(features, rows: Rows) -> None:
    """Every field of every row is bit for bit what was appended."""
    keys = list(rows)
    for spec in FIELDS:
        packed = features.read(keys, spec.name)
        assert len(packed) == len(keys)
        assert str(packed.values.dtype) == spec.dtype
        for number, key in enumerate(keys):
            expected = rows[key][spec.name]
            found = packed[number] if spec.ragged else packed[number][0]
            assert found.shape == expected.shape
            assert found.tobytes() == expected.tobytes()


@pytest.fixture
def folder_bytes() -> Callable[[Path], dict[str, bytes]]:
    def read(folder: Path) -> dict[str, bytes]:
        files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        return {
            str(path.relative_to(folder)): path.read_bytes()
            for path in files
            if path.name != MEMO_NAME
        }

    return read


@pytest.fixture
def flip_value() -> Callable[[Path], Path]:
    return flip_one_bit


def flip_one_bit(folder: Path) -> Path:
    """Changes one stored value of the second shard, which still opens; returns the shard."""
    shard = sorted(folder.glob("shard-*"))[1]
    values = open_shard(shard).columns["pixels"].values.tobytes()
    content = shard.read_bytes()
    place = content.index(values) + len(values) // 2
    shard.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
    return shard
