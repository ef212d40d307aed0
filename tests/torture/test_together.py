import pytest

from .conftest import said


@pytest.mark.parametrize("kind", ["the same", "other modalities", "two datasets"])
@pytest.mark.parametrize("processes", [2, 4])
def test_extractions_at_once_make_the_cache_that_one_makes(
    kind, processes, programs, tmp_path, long, note
):
    media = (400, 100) if long else (14, 5)
    counts = programs("together", tmp_path, kind, processes, *media)
    refused = counts.pop("refused")
    name = f"{processes} extracts at once, {kind}, {sum(media)} media"
    note(name, processes, f"refused with a reason {refused}, {said(counts)}")
    assert not any(counts.values()), counts
