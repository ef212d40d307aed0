import pytest

from promptfuse.errors import ConfigError, UnknownName
from promptfuse.train.settings import TrainSettings
from promptfuse.train.sweep.grid import (
    GridSettings,
    cell_key,
    cell_label,
    cell_values,
    expand,
    grid_hash,
)


def told(cells, *names):
    return [tuple(getattr(cell, name) for name in names) for cell in cells]


def test_every_combination_is_a_cell_and_seeds_are_not():
    choice = GridSettings(
        ("promptfuse", "blindprompt"), (8, "full"), 3, {"prompt_length": (5, 10), "epochs": (3,)}
    )
    cells = expand(choice, TrainSettings())
    assert told(cells, "method", "shots", "prompt_length") == [
        ("promptfuse", 8, 5),
        ("promptfuse", 8, 10),
        ("promptfuse", None, 5),
        ("promptfuse", None, 10),
        ("blindprompt", 8, 5),
        ("blindprompt", 8, 10),
        ("blindprompt", None, 5),
        ("blindprompt", None, 10),
    ]
    assert {(cell.seeds, cell.epochs) for cell in cells} == {(3, 3)}


def test_what_is_left_open_is_the_bases():
    base = TrainSettings(method="blindprompt", shots=16, seeds=2, epochs=3)
    assert expand(GridSettings(), base) == [base]


def test_variants_are_taken_one_at_a_time():
    choice = GridSettings(variants=({}, {"prompt_init": "random"}, {"prompt_length": 4}))
    cells = expand(choice, TrainSettings())
    assert told(cells, "prompt_init", "prompt_length") == [
        ("tokens", None),
        ("random", None),
        ("tokens", 4),
    ]


def test_a_method_without_training_has_one_cell():
    choice = GridSettings(
        ("noprompt",), (8, "full"), 3, {"prompt_length": (5, 10), "epochs": (1, 2)}
    )
    (cell,) = expand(choice, TrainSettings())
    assert (cell.shots, cell.seeds, cell.prompt_length, cell.epochs) == (None, 1, None, None)
    assert cell_label(cell) == "noprompt, zero-shot"


def test_cells_of_one_language_model_stand_together():
    choice = GridSettings(("promptfuse", "blindprompt"), set={"plm": ("b", "a")})
    assert told(expand(choice, TrainSettings()), "plm", "method") == [
        ("a", "promptfuse"),
        ("a", "blindprompt"),
        ("b", "promptfuse"),
        ("b", "blindprompt"),
    ]


def test_the_first_choice_wins():
    line = GridSettings(shots=(16,), set={"epochs": (3,)})
    preset = GridSettings(("promptfuse",), (8,), 10, {"epochs": (9,), "prompt_length": (5,)})
    merged = line.over(preset)
    assert merged == GridSettings(
        ("promptfuse",), (16,), 10, {"epochs": (3,), "prompt_length": (5,)}
    )


def test_a_cell_is_known_by_what_decides_its_results():
    one, same = TrainSettings(threads=1, device="cpu"), TrainSettings(checkpoint_every=5)
    assert cell_key(one) == cell_key(same)
    assert cell_key(one) != cell_key(TrainSettings(prompt_length=4))
    assert grid_hash([one]) == grid_hash([same]) != grid_hash([one, TrainSettings(shots=4)])
    assert cell_values(TrainSettings(modalities=("video",), fields={"video": "cls"})) == {
        "method": "promptfuse",
        "shots": None,
        "seed": 0,
        "seeds": 1,
        "modalities": ("video",),
        "fields": {"video": "cls"},
    }


def test_a_label_says_what_is_not_usual():
    settings = TrainSettings(shots=8, modalities=("video", "audio"), fields={"video": "cls"})
    label = cell_label(settings)
    assert label == "promptfuse, 8 shots, modalities video+audio, fields video=cls"


@pytest.mark.parametrize(
    ("choice", "error", "message"),
    [
        (GridSettings(("lora",)), UnknownName, "unknown method in the grid 'lora'"),
        (GridSettings(set={"colour": ("red",)}), UnknownName, "unknown key in the grid 'colour'"),
        (GridSettings(set={"shots": (3,)}), ConfigError, "shots cannot be set here; use --method"),
        (GridSettings(variants=({"seed": 3},)), ConfigError, "seed cannot be set here"),
        (GridSettings(set={"prompt_length": (0,)}), ConfigError, "prompt_length in the grid is 0"),
    ],
)
def test_what_cannot_be_a_grid(choice, error, message):
    with pytest.raises(error, match=message):
        expand(choice, TrainSettings())
