import pytest

from .conftest import said
from .fuzz import run_long

TARGETS = (
    "shard-arrow", "shard-hdf5", "manifest", "commit", "dataset", "examples", "failures", "jsonl",
    "csv", "parquet", "mustard", "vqav2-questions", "vqav2-annotations", "prompt",
)  # fmt: skip


@pytest.mark.parametrize("target", TARGETS)
def test_a_forged_file_is_read_or_refused(target, programs, tmp_path, long, note, request):
    if long:
        minutes = request.config.getoption("--minutes")
        answer = run_long(tmp_path, target, round(60 * minutes))
        note(
            f"fuzzing {target}, {minutes:g} minutes",
            answer["inputs"],
            f"findings {len(answer['found'])}",
        )
        assert answer["inputs"]
        assert not answer["found"], answer["found"]
        return
    counts = programs("fuzz", tmp_path, target, 120, 8)
    findings = counts.pop("findings")
    note(f"fuzzing {target}", sum(counts.values()), said(counts))
    assert counts["read"]
    assert counts["refused"]
    assert not findings, findings
