import numpy as np
import pytest

from promptfuse.errors import ShotsError
from promptfuse.train.shots import draw_shots

IDS = [f"id{number}" for number in range(20)]
LABELS = ["True" if number < 8 else "False" for number in range(20)]


def test_all_without_shots():
    assert draw_shots(IDS, LABELS, shots=None).tolist() == list(range(20))


def test_stratified_draws_evenly_over_classes():
    drawn = draw_shots(IDS, LABELS, shots=10, data_seed=3)
    assert sorted(LABELS[index] for index in drawn) == ["False"] * 5 + ["True"] * 5
    assert len(set(drawn.tolist())) == 10


def test_the_data_seed_decides_and_the_order_of_the_file_does_not():
    first = draw_shots(IDS, LABELS, shots=6, data_seed=0)
    assert draw_shots(IDS, LABELS, shots=6, data_seed=0).tolist() == first.tolist()
    assert draw_shots(IDS, LABELS, shots=6, data_seed=1).tolist() != first.tolist()
    order = np.random.default_rng(5).permutation(20)
    shuffled = draw_shots(
        [IDS[index] for index in order], [LABELS[index] for index in order], shots=6, data_seed=0
    )
    assert {IDS[order[index]] for index in shuffled} == {IDS[index] for index in first}


def test_paper_takes_the_first_of_each_class_in_file_order():
    drawn = draw_shots(IDS, LABELS, shots=6, sampling="paper", data_seed=9)
    assert drawn.tolist() == [0, 1, 2, 8, 9, 10]


def test_without_classes_all_are_drawn_alike():
    assert len(draw_shots(IDS, None, shots=7, data_seed=2)) == 7
    assert draw_shots(IDS, None, shots=3, sampling="paper").tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("shots", "message"),
    [
        (21, "--shots 21: there are 20"),
        (0, "--shots 0"),
        (18, "9 shots of class 'True' asked for, 8 there"),
        (1, "--shots 1 is fewer than the 2 classes"),
    ],
)
def test_more_than_there_are(shots, message):
    with pytest.raises(ShotsError, match=message):
        draw_shots(IDS, LABELS, shots=shots)
