import pytest

from .conftest import said

SHORT, LONG = ([5, 1], 2, 0.02), ([120, 30], 40, 0.02)


@pytest.mark.parametrize("task", ["extract", "convert"])
def test_a_power_cut_at_any_operation_loses_nothing_acknowledged(
    task, programs, tmp_path, long, note
):
    counts = programs("power", tmp_path, task, *(LONG if long else SHORT))
    operations, states = counts.pop("operations"), counts.pop("states")
    ended = counts.pop("ended")
    name = f"a power cut in {task}, {operations} operations ({ended} typed again)"
    note(name, states, said(counts))
    assert states > operations / 2
    assert not any(counts.values()), counts
