from .conftest import said

FAULTS = ("a full disk", "one I/O error", "a disk that is gone", "a folder without permission")
SHORT = [("convert", "one I/O error"), ("train", "a full disk")] + [
    ("extract", fault) for fault in FAULTS
]
LONG = [(task, fault) for task in ("extract", "convert", "train") for fault in FAULTS]


def pytest_generate_tests(metafunc):
    """Let a task meet every fault in the long form, and the likeliest in the short one."""
    if "fault" in metafunc.fixturenames:
        chosen = LONG if metafunc.config.getoption("--long") else SHORT
        metafunc.parametrize(("task", "fault"), chosen)


def test_a_fault_is_told_and_leaves_nothing_behind(task, fault, programs, tmp_path, long, note):
    counts = programs("faults", tmp_path, task, fault, 200 if long else 2)
    note(f"{task} on {fault}", counts["refused"] + counts["passed over"], said(counts))
    assert counts["refused"], counts
    assert counts["another end"] == 0


def test_a_cache_that_may_only_be_read_is_read(programs, tmp_path, note):
    counts = programs("readonly", tmp_path)
    note("inspect, verify, eval and train on a read-only cache", 4, said(counts))
    assert counts == {"read": 4, "refused": 0, "otherwise": 0}
