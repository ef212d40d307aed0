"""Rows of datasets, the user's and the shipped; no code knows a shipped one by name."""

import re
from pathlib import Path

import pytest

from promptfuse.commands.extract import dataset_to_extract
from promptfuse.demo import GENERATORS
from promptfuse.errors import ConfigError, UnknownName
from promptfuse.library.workspace import (
    SHIPPED,
    ConfigFile,
    DatasetRow,
    SweepRow,
    Workspace,
    shipped,
)
from promptfuse.train.presets import PRESETS, Preset, Presets

ROOT = SHIPPED.parents[1]
MINE = """
[datasets.jokes]
data = "clips/jokes.jsonl"
adapter = "table"
options = { fold = 2 }
encoder = { video = "own/vit" }
plm = "own/bart"
preset = "mine"
few_shot_preset = "mustard_low"

[datasets.jokes.sweep]
shots = [4, "full"]
seeds = 2

[presets.mine]
lr_prompt = 0.1
batch_size = 4
epochs = 3
"""


def workspace_of(folder: Path, text: str, **typed: object) -> Workspace:
    (folder / "promptfuse.toml").write_text(text)
    return ConfigFile.read(folder).workspace(**typed)


def test_a_users_dataset_has_a_row(tmp_path):
    workspace = workspace_of(tmp_path, MINE)
    row = workspace.row("jokes")
    assert row.adapter == "table"
    assert row.options == {"fold": 2}
    assert row.sweep == SweepRow(shots=(4, "full"), seeds=2)
    assert workspace.data_of("jokes") == Path("clips/jokes.jsonl")
    assert row.encoder_for("video") == "own/vit"
    assert row.encoder_for("audio") == "facebook/wav2vec2-base-960h"
    assert row.plm_for() == "own/bart"
    assert row.plm_for("typed") == "typed"


def test_what_is_typed_comes_before_the_row(tmp_path):
    workspace = workspace_of(tmp_path, MINE, dataset="jokes", data="elsewhere")
    assert workspace.data_of("jokes") == Path("elsewhere")


def test_the_files_own_data_is_not_taken_for_another_dataset_with_a_row(tmp_path):
    text = 'dataset = "clips"\ndata = "/data/clips"\n' + MINE
    assert workspace_of(tmp_path, text).data_of("clips") == Path("/data/clips")
    typed = workspace_of(tmp_path, text, dataset="jokes")
    assert typed.data_of("jokes") == Path("clips/jokes.jsonl")


def test_a_dataset_trains_with_its_rows_presets(tmp_path):
    presets = workspace_of(tmp_path, MINE).presets_of("jokes")
    mine = Preset(lr_prompt=0.1, batch_size=4, epochs=3)
    assert presets.choose(None, "label", few_shot=False) == ("mine", mine)
    assert presets.choose(None, "label", few_shot=True)[0] == "mustard_low"
    assert presets.choose("vqav2_low", "label", few_shot=True)[0] == "vqav2_low"
    with pytest.raises(UnknownName, match=r"unknown preset 'mind'.*mine"):
        presets.choose("mind", "label", few_shot=True)


@pytest.mark.parametrize(
    ("task", "few", "name"),
    [
        ("label", False, "mustard_full"),
        ("label", True, "mustard_low"),
        ("vqa", False, "vqav2_full"),
        ("text", True, "vqav2_low"),
    ],
)
def test_without_a_row_the_papers_presets_are_taken(task, few, name):
    assert Workspace().presets_of("any").choose(None, task, few_shot=few) == (name, PRESETS[name])
    assert Presets().choose(None, task, few_shot=few)[0] == name


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        (
            "[datasets.jokes]\nadaptor = 'table'",
            UnknownName,
            "unknown key in datasets.jokes of .* 'adaptor'; choose one of: adapter",
        ),
        ("[datasets.jokes]\nencoder = {vidio = 'x'}", UnknownName, "'vidio'; choose one of"),
        ("[datasets.jokes.sweep]\nshots = [0]", ConfigError, "datasets.jokes.sweep.shots.* is 0"),
        ("[presets.mine]\nlr_prompt = 0.1\nepochs = 1", ConfigError, "no presets.mine.batch_size"),
        (
            "[presets.mine]\nlr_prompt = nan\nbatch_size = 1\nepochs = 1",
            ConfigError,
            "presets.mine.lr_prompt in .* is ",
        ),
    ],
)
def test_a_wrong_row_is_named(tmp_path, text, error, message):
    with pytest.raises(error, match=message):
        workspace_of(tmp_path, text)


def test_the_shipped_rows_are_whole_and_known_in_any_folder(tmp_path):
    for workspace in (Workspace(), workspace_of(tmp_path, MINE)):
        for name in shipped().datasets:
            row = workspace.row(name)
            models = [row.plm, *row.encoder.values(), *row.sweep.plms.values()]
            assert len(models) >= 3
            assert all((Path(model) / "model.safetensors").is_file() for model in models)
            assert row.generator in GENERATORS
            assert workspace.data_of(name) == Path("pf/data") / name
            chosen, _ = workspace.presets_of(name).choose(None, "label", few_shot=True)
            assert chosen == row.preset


def test_a_users_row_comes_before_the_shipped_one(tmp_path):
    name = next(iter(shipped().datasets))
    workspace = workspace_of(tmp_path, f'[datasets.{name}]\nplm = "own/bart"')
    assert workspace.row(name) == DatasetRow(plm="own/bart")


def test_the_shipped_dataset_is_extracted_only_where_there_is_no_file(tmp_path):
    config = ConfigFile.read(tmp_path)
    assert dataset_to_extract(config, config.workspace()) == shipped().dataset
    assert config.workspace().dataset is None  # training takes what the cache holds
    workspace_of(tmp_path, MINE)
    config = ConfigFile.read(tmp_path)
    with pytest.raises(ConfigError, match="names no dataset"):
        dataset_to_extract(config, config.workspace())


def test_no_code_knows_a_shipped_dataset_or_preset_by_name():
    names = [*shipped().datasets, *shipped().presets]
    outside = ("tests", "docs", "demo", "benchmarks", "build", "pf", "site")
    files = [
        path
        for path in ROOT.rglob("*.py")
        if not path.relative_to(ROOT).parts[0].startswith((".", *outside))
    ]
    assert len(files) > 80
    known = re.compile("demo-|" + "|".join(names))
    assert [str(path) for path in files if known.search(path.read_text())] == []
