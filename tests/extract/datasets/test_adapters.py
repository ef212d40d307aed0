import json
import subprocess
import sys

import pytest

from promptfuse.errors import ConfigError, DatasetMissing, UnknownName
from promptfuse.extract.datasets import adapters, read_raw
from promptfuse.extract.datasets.recipe import read_recipe, shipped


def test_every_adapter_has_a_name_and_reads():
    assert {"mustard", "table", "vqav2"} <= set(adapters())
    assert all(read_recipe(path).source.startswith("https://") for path in shipped().values())


def test_an_adapter_is_chosen_by_name_with_its_options(tmp_path):
    row = {"qid": 1, "text": "t"}
    (tmp_path / "t.jsonl").write_text(json.dumps(row))
    raw = read_raw("table", tmp_path, name="mine", options={"columns": {"id": "qid"}})
    assert (raw.info.name, raw.splits["train"][0].id) == ("mine", "1")


def test_an_unknown_adapter_lists_the_valid_ones(tmp_path):
    with pytest.raises(
        UnknownName, match=r"'vqa'; choose one of: .*mustard.*, table, .*vqav2; did .*'vqav2'\?"
    ):
        read_raw("vqa", tmp_path)


def test_an_unknown_option_lists_the_valid_ones(tmp_path):
    with pytest.raises(ConfigError, match="no option 'folds'; it has: seed"):
        read_raw("mustard", tmp_path, options={"folds": 1})


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(DatasetMissing, match=r"nowhere: no such folder; expected a vqav2 dataset"):
        read_raw("vqav2", tmp_path / "nowhere")
    with pytest.raises(DatasetMissing, match=r"nothere\.jsonl: no such file; expected a table"):
        read_raw("table", tmp_path / "nothere.jsonl")


def test_reading_annotations_loads_no_decoder_or_encoder():
    code = (
        "import sys, promptfuse.extract.datasets as d;"
        "print([m for m in ('torch', 'transformers', 'open_clip', 'av') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
