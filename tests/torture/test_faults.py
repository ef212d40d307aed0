import pytest

from .conftest import said

SHORT, LONG = 4, 200


@pytest.mark.parametrize("task", ["extract", "convert", "train"])
@pytest.mark.parametrize(
    "fault",
    ["a full disk", "one I/O error", "a disk that is gone", "a folder without permission"],
)
def test_a_fault_is_told_and_leaves_nothing_behind(task, fault, programs, tmp_path, long, note):
    counts = programs("faults", tmp_path, task, fault, LONG if long else SHORT)
    note(f"{task} on {fault}", counts["refused"] + counts["passed over"], said(counts))
    assert counts["refused"], counts
    assert counts["another end"] == 0
