import pytest

from .conftest import said

STEPS = {"arrow": 47, "hdf5": 47, "prompt": 11, "checkpoint": 5}


@pytest.mark.parametrize("part", STEPS)
def test_a_changed_byte_is_told_of_or_harmless(part, programs, tmp_path, long, note):
    counts = programs("flips", tmp_path, part, 1 if long else STEPS[part])
    bad = counts.pop("bad")
    names = {"arrow": "a small cache, Arrow", "hdf5": "a small cache, HDF5"}
    note(f"a byte flipped in {names.get(part, f'a {part}')}", sum(counts.values()), said(counts))
    assert counts["told"] > 100
    assert not bad, bad


def test_no_command_ends_otherwise_without_a_word(programs, tmp_path, long, note):
    flips, commands = (150, 7) if long else (4, 2)
    counts = programs("flipped_commands", tmp_path, flips, commands)
    bad = counts.pop("bad")
    note("a byte flipped under train, eval, predict, explain, convert, inspect and verify",
         sum(counts.values()), said(counts))  # fmt: skip
    assert counts["told"]
    assert not bad, bad
