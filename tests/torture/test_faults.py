import pytest

from .conftest import said

FAULTS = ("a full disk", "one I/O error", "a disk that is gone", "a folder without permission")
SHORT = {("convert", "one I/O error"), ("train", "a full disk")} | {
    ("extract", fault) for fault in FAULTS
}


@pytest.mark.parametrize("task", ["extract", "convert", "train"])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_told_and_leaves_nothing_behind(task, fault, programs, tmp_path, long, note):
    if not long and (task, fault) not in SHORT:
        pytest.skip("in the long form")
    counts = programs("faults", tmp_path, task, fault, 200 if long else 2)
    note(f"{task} on {fault}", counts["refused"] + counts["passed over"], said(counts))
    assert counts["refused"], counts
    assert counts["another end"] == 0


def test_a_cache_that_may_only_be_read_is_read(programs, tmp_path, note):
    counts = programs("readonly", tmp_path)
    note("inspect, verify, eval and train on a read-only cache", 4, said(counts))
    assert counts == {"read": 4, "refused": 0, "otherwise": 0}
