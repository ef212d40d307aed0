import hashlib
import json

import h5py
import numpy as np
import pytest
from safetensors.numpy import save_file

from promptfuse.cache.example_table import DatasetInfo, Example
from promptfuse.cache.examples import read_dataset, read_examples, write_examples
from promptfuse.cache.importing import import_features
from promptfuse.cache.keys import BLANK_KEY
from promptfuse.cache.store import feature_sets
from promptfuse.errors import CacheError, FeatureNotFinite

VALUES = np.arange(12, dtype=np.float32).reshape(3, 4)
KEYS = [hashlib.sha256(b"%d" % number).digest() for number in range(3)]


@pytest.fixture
def cache(tmp_path):
    """Return a cache of a dataset of three images, the last of which was never there."""
    examples = [
        Example(
            id=f"q{n}", text="?", paths={"image": f"{n}.jpg"},
            media={"image": KEYS[n]} if n < 2 else {},
        )
        for n in range(3)
    ]  # fmt: skip
    info = DatasetInfo("mine", "table", "text", modalities=("image",), splits={"train": 3})
    write_examples(tmp_path / "cache", info, {"train": examples})
    return tmp_path / "cache"


@pytest.fixture
def listed(tmp_path):
    (tmp_path / "media.txt").write_text("2.jpg\n0.jpg\nq1\n")
    return tmp_path / "media.txt"


def take(cache, *files, **options):
    return import_features(files, cache, **{"dataset": "mine", "modality": "image", **options})


def saved(path, arrays):
    if path.suffix == ".npy":
        np.save(path, arrays["pooler"])
    elif path.suffix == ".npz":
        np.savez(path, **arrays)
    elif path.suffix == ".h5":
        with h5py.File(path, "w") as file:
            for name, array in arrays.items():
                file[name] = array
    else:
        save_file(arrays, path)
    return path


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".h5", ".safetensors"])
def test_each_kind_of_file_becomes_a_set_that_examples_find(cache, listed, tmp_path, suffix):
    file = saved(tmp_path / f"vit{suffix}", {"pooler": VALUES})
    made = take(cache, file, media=listed, encoder="my ViT")
    assert (made.rows, made.new) == (3, 3)
    assert take(cache, file, media=listed, encoder="my ViT").new == 0
    (features,) = feature_sets(cache)
    assert features.encoder == "my ViT"
    assert features.manifest.identity["provenance"] == "unknown"
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    assert features.manifest.identity["files_sha256"] == [sha256]
    keys = read_examples(cache, "mine", "train").keys("image")
    assert keys[:2] == KEYS[:2]  # and the third was made
    np.testing.assert_array_equal(features.read(keys, "pooler").values, VALUES[[1, 2, 0]])
    assert read_dataset(cache, "mine").splits == {"train": 3}


def test_ragged_fields_and_own_keys(cache, tmp_path):
    arrays = {
        "keys": np.frombuffer(b"".join(KEYS), np.uint8).reshape(3, 32),
        "frames": np.arange(10, dtype=">f4").reshape(5, 2),
        "frames.offsets": np.array([0, 2, 2, 5], dtype=np.int32),
        "pooler": VALUES.astype(np.float16),
    }
    take(cache, saved(tmp_path / "x.npz", arrays))
    (features,) = feature_sets(cache)
    packed = features.read(KEYS, "frames")
    assert packed.offsets.tolist() == [0, 2, 2, 5]
    np.testing.assert_array_equal(packed.values, arrays["frames"])
    assert str(packed.values.dtype) == "float32"
    np.testing.assert_array_equal(features.read(KEYS, "pooler").values, VALUES)


def test_media_are_known_by_their_bytes_where_they_are_given(tmp_path):
    for number in range(3):
        (tmp_path / f"{number}.jpg").write_bytes(b"%d" % number)
    rows = [{"path": "1.jpg"}, {"image": "0.jpg"}, "2.jpg"]
    listed = tmp_path / "media.jsonl"
    listed.write_text("".join(json.dumps(row) + "\n" for row in rows))
    file = saved(tmp_path / "vit.npy", {"pooler": VALUES})
    take(tmp_path / "new", file, media=listed, data=tmp_path)
    (features,) = feature_sets(tmp_path / "new")
    np.testing.assert_array_equal(features.read(KEYS, "pooler").values, VALUES[[1, 0, 2]])
    listed.with_suffix(".csv").write_text("id,path\nx,1.jpg\ny,0.jpg\nz,absent.jpg\n")
    with pytest.raises(CacheError, match=r"media.csv, row 3: .*absent.jpg: no such file"):
        take(tmp_path / "new", file, media=listed.with_suffix(".csv"), data=tmp_path)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"pooler": VALUES[:2]}, "array 'pooler' has 2 rows, and there are 3 media"),
        ({"pooler": VALUES.astype(np.complex64)}, r"is complex64 \(3, 4\); \[n, …\] expected"),
        ({"pooler": np.where(VALUES == 5, np.nan, VALUES)}, r"row 2 \(0.jpg\): holds NaN"),
        ({"pooler": VALUES, "b.offsets": VALUES}, "array 'b.offsets' has no array 'b'"),
        ({"a": VALUES, "a.offsets": np.array([0, 2, 1, 3])}, "must rise from 0 to 3"),
        ({"Pooler x": VALUES}, "'Pooler x' is not a field name"),
        ({"pooler": np.zeros((3, 0), np.float32)}, "has an empty axis"),
        ({"pooler": np.array([{}, {}, {}])}, "which is never loaded"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(cache, listed, tmp_path, arrays, message):
    file = saved(tmp_path / "x.npz", arrays)
    with pytest.raises((CacheError, FeatureNotFinite), match=message):
        take(cache, file, media=listed)
    assert feature_sets(cache) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("0.jpg\nq1\nq0\n", r"rows 1 \(0.jpg\) and 3 \(q0\) are of the same medium"),
        ("0.jpg\n1.jpg\n9.jpg\n", "row 3: '9.jpg' is neither a path nor an id of dataset 'mine'"),
    ],
)
def test_media_that_do_not_fit_are_refused(cache, tmp_path, content, message):
    (tmp_path / "media.txt").write_text(content)
    file = saved(tmp_path / "x.npy", {"pooler": VALUES})
    with pytest.raises(CacheError, match=message):
        take(cache, file, media=tmp_path / "media.txt")


def test_files_that_cannot_be_read_are_named(cache, listed, tmp_path):
    for name in ("x.npy", "x.npz", "x.h5", "x.safetensors"):
        (tmp_path / name).write_bytes(b"\x80\x04not this")
        with pytest.raises(CacheError, match=f"{name}: cannot be read as"):
            take(cache, tmp_path / name, media=listed)
    with pytest.raises(CacheError, match=r"x.pkl: features are read from .npy, .npz"):
        take(cache, tmp_path / "x.pkl", media=listed)
    with pytest.raises(CacheError, match=r"absent.npy: no such file"):
        take(cache, tmp_path / "absent.npy", media=listed)
    with pytest.raises(CacheError, match="of which media"):
        take(cache, saved(tmp_path / "x.npy", {"pooler": VALUES}))
    with pytest.raises(CacheError, match="no dataset 'other'"):
        take(cache, tmp_path / "x.npy", media=listed, dataset="other")


def test_the_blank_row_is_zeros_unless_it_is_given(cache, listed, tmp_path):
    take(cache, saved(tmp_path / "vit.npy", {"pooler": VALUES}), media=listed)
    (features,) = feature_sets(cache)
    assert len(features) == 4
    assert not features.read([BLANK_KEY], "pooler").values.any()
    keys = np.frombuffer(BLANK_KEY + KEYS[0] + KEYS[1], dtype=np.uint8).reshape(3, 32)
    made = take(cache, saved(tmp_path / "own.npz", {"pooler": VALUES, "keys": keys}))
    (given,) = [held for held in feature_sets(cache) if held.path == made.path]
    assert len(given) == 3
    np.testing.assert_array_equal(given.read([BLANK_KEY], "pooler").values, VALUES[:1])
