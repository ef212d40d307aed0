import pytest

from promptfuse.errors import UnknownName
from promptfuse.train.settings import TrainSettings
from promptfuse.train.sweep.grid import expand
from promptfuse.train.sweep.presets import SWEEPS, preset_grid

ALL_METHODS = (
    "finetune", "noprompt", "blackimage", "linear", "jointproj", "promptfuse", "blindprompt"
)  # fmt: skip
PLMS = {"bart": "b", "bert": "m", "t5": "t"}


def test_table_2_is_the_papers():
    grid, notes = preset_grid("table2", dataset="vqav2", task="vqa")
    assert grid.method == ALL_METHODS
    assert grid.shots == (128, 512, "full")
    assert grid.seeds == 3
    assert notes == []


def test_table_4_is_the_papers_with_every_method():
    grid, _ = preset_grid("table4", dataset="mustard", task="label")
    assert grid.method == ALL_METHODS
    assert grid.shots == (8, 32, 64, "full")
    assert grid.seeds == 10


def test_tables_5_to_7_are_the_papers():
    def grid(name):
        return preset_grid(name, dataset="vqav2", task="vqa", plms=PLMS)[0]

    assert grid("table5").set == {"prompt_length": (5, 10, 20, 40, 60, 80, 100)}
    assert len(grid("table6").variants) == 7
    assert grid("table7").set == {"plm": ("b", "m", "t")}
    assert {grid(name).shots for name in ("table5", "table6", "table7")} == {("full",)}


def test_a_dataset_with_a_row_runs_as_that_scales_it_and_says_so():
    def scaled(name):
        return preset_grid(name, dataset="jokes", task="label", shots=(16, "full"), seeds=2)

    grid, notes = scaled("table4")
    assert grid.shots == (16, "full")
    assert grid.seeds == 2
    assert notes == [
        "jokes has a row in promptfuse.toml: table4 runs as that scales it, with its shots, steps "
        "and models and 2 seeds unless told otherwise"
    ]
    assert scaled("table6")[0].shots == ("full",)


def test_a_language_model_that_is_not_there_is_left_out_aloud():
    def grid(plms):
        return preset_grid("table7", dataset="vqav2", task="vqa", plms=plms)

    here, notes = grid({"bart": "b"})
    assert here.set == {"plm": ("b",)}
    assert notes == ["left out, no such language model here: bert, t5"]
    here, _ = grid({"gpt2": "g"})
    assert here.set == {}


@pytest.mark.parametrize("name", SWEEPS)
def test_each_preset_expands(name):
    grid, _ = preset_grid(name, dataset="shapes", task="vqa")
    assert expand(grid, TrainSettings())


def test_an_unknown_preset_is_named():
    with pytest.raises(UnknownName, match="unknown sweep preset 'table3'; choose one of: table2"):
        preset_grid("table3", dataset="vqav2", task="vqa")
