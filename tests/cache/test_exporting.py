import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from safetensors import safe_open

from promptfuse.cache.example_table import DatasetInfo, Example
from promptfuse.cache.examples import read_examples, write_examples
from promptfuse.cache.exporting import export_features
from promptfuse.cache.importing import import_features
from promptfuse.cache.keys import BLANK_KEY
from promptfuse.cache.store import FeatureSet, feature_sets
from promptfuse.errors import CacheError


@pytest.fixture
def rows(make_rows):
    (blank,) = make_rows(1, seed=1).values()
    return {**make_rows(8), BLANK_KEY: blank}


@pytest.fixture
def features(write_set, rows, file_format) -> FeatureSet:
    return FeatureSet.open(write_set(rows, format=file_format))


def test_what_is_exported_imports_to_the_same_values(features, rows, assert_holds, tmp_path):
    (file,) = export_features(features, tmp_path / "out")
    assert file.name == f"video-{features.fingerprint}.safetensors"
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    import_features([file], tmp_path / "new", dataset="mine", modality="video")
    (imported,) = feature_sets(tmp_path / "new")
    assert sorted(imported.keys) == sorted(rows)
    assert set(imported.manifest.fields) == set(features.manifest.fields)
    assert_holds(imported, rows)
    (again,) = export_features(imported, tmp_path / "out")
    with safe_open(file, "np") as one, safe_open(again, "np") as other:
        for name in one.keys():  # noqa: SIM118  (no mapping)
            np.testing.assert_array_equal(one.get_tensor(name), other.get_tensor(name))
        assert json.loads(one.metadata()["identity"]) == features.manifest.identity


def test_one_file_a_split_with_the_ids_of_its_examples(features, rows, tmp_path):
    first, second, *_ = rows
    media = [{"video": second}, {}, {"video": first}, {"video": second}, {"video": b"\1" * 32}]
    examples = [Example(id=str(n), text="?", media=held) for n, held in enumerate(media)]
    info = DatasetInfo("mine", "table", "text", modalities=("video",), splits={"val": 5})
    write_examples(tmp_path, info, {"val": examples})
    table = read_examples(tmp_path, "mine", "val")
    options = {"fields": ["samples", "pooler"], "splits": {"val": table}}
    (file,) = export_features(features, tmp_path / "out", **options)
    with safe_open(file, "np") as held:
        assert sorted(held.keys()) == ["keys", "pooler", "samples", "samples.offsets"]
        assert json.loads(held.metadata()["ids"]) == [["0", "3"], ["2"]]
        np.testing.assert_array_equal(held.get_tensor("pooler")[1], rows[first]["pooler"])
    (file,) = export_features(features, tmp_path / "out", format="parquet", **options)
    content = pq.read_table(file)
    assert content.column_names == ["key", "ids", "samples", "pooler"]
    assert content["key"].to_pylist() == [second, first]
    assert content["ids"].to_pylist() == [["0", "3"], ["2"]]
    assert content["samples"].to_pylist() == [rows[k]["samples"].tolist() for k in (second, first)]


def test_parquet_holds_every_value(features, rows, tmp_path):
    (file,) = export_features(features, tmp_path / "out", format="parquet")
    content = pq.read_table(file)
    for record in content.to_pylist():
        for spec in features.manifest.fields:
            said = content.schema.field(spec.name).metadata
            assert tuple(json.loads(said[b"shape"])) == spec.shape
            found = np.array(record[spec.name], spec.dtype)
            np.testing.assert_array_equal(found, rows[record["key"]][spec.name].reshape(-1))


def test_what_is_not_there_is_not_exported(features, tmp_path):
    with pytest.raises(CacheError, match="not 'hidden'"):
        export_features(features, tmp_path / "out", fields=["hidden"])
    info = DatasetInfo("mine", "table", "text", modalities=("video",), splits={"val": 1})
    write_examples(tmp_path, info, {"val": [Example(id="1", text="?")]})
    splits = {"val": read_examples(tmp_path, "mine", "val")}
    with pytest.raises(CacheError, match="no medium of split 'val' has a row"):
        export_features(features, tmp_path / "out", splits=splits)
    assert list((tmp_path / "out").iterdir()) == []
