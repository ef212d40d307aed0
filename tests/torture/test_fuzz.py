import pytest

from promptfuse.errors import PromptFuseError

from .conftest import said
from .fuzz import run_long
from .targets import TARGETS


@pytest.mark.parametrize(
    ("target", "old", "new", "message"),
    [
        ("dataset", b'"train-', rb'"\ud800-', "is not the name of a file"),
        ("dataset", b'"table"', b'["table"]', "a dataset is described in texts"),
        ("parquet", b"weight", b"weigh\xf7", "not a Parquet table"),
        ("examples", b"question_type", b"question_typ\x83", "not a table of the columns"),
    ],
)
def test_what_fuzzing_found_is_refused(target, old, new, message, tmp_path):
    (first,), one = TARGETS[target](tmp_path)
    assert old in first
    with pytest.raises(PromptFuseError, match=message):
        one(first.replace(old, new))


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
