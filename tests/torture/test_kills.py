import pytest

from .conftest import said

SHORT = {"extract": 5, "train": 2, "convert": 2, "sweep": 2}
LONG = {"extract": 200, "train": 50, "convert": 20, "sweep": 20}


@pytest.mark.parametrize("task", SHORT)
def test_a_command_killed_at_random_instants_ends_as_if_it_had_not_been(
    task, programs, tmp_path, long, note
):
    counts = programs("kills", tmp_path, task, (LONG if long else SHORT)[task], 8)
    kills, ended = counts.pop("kills"), counts.pop("ended")
    assert kills >= (LONG if long else SHORT)[task]
    note(f"{task} killed at a random instant ({ended} ended)", kills, said(counts))
    assert not any(counts.values()), counts
