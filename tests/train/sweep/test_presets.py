from dataclasses import fields, replace

import pytest

from promptfuse.errors import UnknownName
from promptfuse.train.fusion.methods import METHODS
from promptfuse.train.settings import TrainSettings
from promptfuse.train.sweep.grid import expand
from promptfuse.train.sweep.presets import SWEEPS, Available, preset_grid

ALL_METHODS = (
    "finetune", "noprompt", "blackimage", "linear", "jointproj", "promptfuse", "blindprompt"
)  # fmt: skip
EVERYTHING = Available(
    methods=ALL_METHODS,
    settings=("prompt_length", "prompt_position", "prompt_encoder", "fields"),
    plms={"bart": "b", "bert": "m", "t5": "t"},
)


def test_table_2_is_the_papers():
    choice, notes = preset_grid("table2", dataset="vqav2", task="vqa", available=EVERYTHING)
    assert choice.methods == ALL_METHODS
    assert choice.shots == (128, 512, None)
    assert choice.seeds == 3
    assert notes == []


def test_table_4_is_the_papers_with_every_method():
    choice, _ = preset_grid("table4", dataset="mustard", task="label", available=EVERYTHING)
    assert choice.methods == ALL_METHODS
    assert choice.shots == (8, 32, 64, None)
    assert choice.seeds == 10


def test_tables_5_to_7_are_the_papers():
    def grid(name):
        return preset_grid(name, dataset="vqav2", task="vqa", available=EVERYTHING)[0]

    assert grid("table5").axes == {"prompt_length": (5, 10, 20, 40, 60, 80, 100)}
    assert len(grid("table6").variants) == 7
    assert grid("table7").axes == {"plm": ("b", "m", "t")}
    assert {grid(name).shots for name in ("table5", "table6", "table7")} == {(None,)}


def test_a_dataset_with_a_row_runs_as_that_scales_it_and_says_so():
    scaled = replace(EVERYTHING, shots=(16, None), seeds=2)
    choice, notes = preset_grid("table4", dataset="jokes", task="label", available=scaled)
    assert choice.shots == (16, None)
    assert choice.seeds == 2
    assert notes == [
        "jokes has a row in promptfuse.toml: table4 runs as that scales it, with its shots, steps "
        "and models and 2 seeds unless told otherwise"
    ]
    choice, _ = preset_grid("table6", dataset="jokes", task="label", available=scaled)
    assert choice.shots == (None,)


def test_what_is_not_there_is_left_out_aloud():
    little = Available(("promptfuse",), ("prompt_length",), {"bart": None})

    def grid(name):
        return preset_grid(name, dataset="vqav2", task="vqa", available=little)

    choice, notes = grid("table7")
    assert choice.methods == ("promptfuse",)
    assert choice.axes == {"plm": (None,)}
    assert notes == [
        "left out, no such method here: blindprompt",
        "left out, no such language model here: bert, t5",
    ]
    choice, notes = grid("table6")
    assert choice.variants == ({},)
    assert "left out, no such setting here: prompt_position middle" in notes


@pytest.mark.parametrize("name", SWEEPS)
def test_each_preset_expands_with_what_this_version_has(name):
    known = [one.name for one in fields(TrainSettings)]
    here = Available(METHODS, known, {"bart": None})
    choice, _ = preset_grid(name, dataset="shapes", task="vqa", available=here)
    assert expand(choice, TrainSettings())


def test_an_unknown_preset_is_named():
    with pytest.raises(UnknownName, match="unknown sweep preset 'table3'; choose one of: table2"):
        preset_grid("table3", dataset="vqav2", task="vqa", available=EVERYTHING)
