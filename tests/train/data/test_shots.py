import numpy as np
import pytest

from promptfuse.errors import ShotsError
from promptfuse.train.data.candidates import draw_dev, draw_shots

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


def dev(count, *, shots=None, labels=LABELS, seed=0):
    taken = None if shots is None else draw_shots(IDS, labels, shots=shots, data_seed=seed)
    drawn = draw_dev(IDS, labels, count=count, shots=taken, data_seed=seed).tolist()
    return drawn, [] if taken is None else taken.tolist()


def test_dev_examples_are_apart_from_the_shots_and_even_over_classes():
    for seed in range(5):
        drawn, shots = dev(6, shots=8, seed=seed)
        assert not {*drawn} & {*shots}
        assert sorted(LABELS[index] for index in drawn) == ["False"] * 3 + ["True"] * 3


def test_dev_examples_go_by_the_data_seed_and_hardly_by_the_shots():
    alone, _ = dev(6)
    assert dev(6)[0] == alone != dev(6, seed=1)[0]
    drawn, shots = dev(6, shots=4)
    assert {*alone} - {*shots} <= {*drawn}
    unlabelled, shots = dev(7, shots=3, labels=None)
    assert len({*unlabelled} | {*shots}) == 10


@pytest.mark.parametrize(
    ("count", "shots", "message"),
    [
        (20, None, "--dev 20: there are 20 .* at least one must be left .* choose 1 to 19"),
        (11, 10, "--dev 11: there are 20 .* and 10 must be left .* choose 1 to 10"),
        (8, 10, "--dev 8: 4 of class 'True' asked for, 3 left"),
        (1, 4, "--dev 1 is fewer than the 2 classes"),
        (0, 4, "--dev 0"),
    ],
)
def test_more_to_set_aside_than_there_are(count, shots, message):
    with pytest.raises(ShotsError, match=message):
        dev(count, shots=shots)
