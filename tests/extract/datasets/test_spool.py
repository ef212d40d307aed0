import pytest

from promptfuse.cache.example_batches import BATCH_ROWS, UniqueIds
from promptfuse.cache.examples import Example
from promptfuse.errors import CacheError
from promptfuse.extract.datasets import spool
from promptfuse.extract.datasets.spool import raw_batches, spooled

EXAMPLES = [
    Example("1", "ü\n", "a", ("a", "b"), "t", "q", paths={"video": "v", "audio": "v"}),
    Example("2", "", span_seconds=(0.0, 1.5), paths={"image": "i"}, meta={"x": "y"}),
    Example("3", "t"),
]


def many(count):
    for number in range(count):
        yield ("ab"[number % 2], Example(str(number), f"text {number}", answer="x"))


def test_examples_come_back_as_they_were():
    spools = spooled("d", [("a", EXAMPLES[0]), ("b", EXAMPLES[1]), ("a", EXAMPLES[2])])
    assert list(spools) == ["a", "b"]
    assert [*spools["a"], *spools["b"]] == [EXAMPLES[0], EXAMPLES[2], EXAMPLES[1]]
    assert (spools["a"][1], spools["a"][-2], spools["a"][:1]) == (*EXAMPLES[::-2], EXAMPLES[:1])
    with pytest.raises(IndexError, match="out of range"):
        spools["b"][1]


def test_many_examples_lie_in_a_file_and_are_read_as_often_as_asked(monkeypatch):
    monkeypatch.setattr(spool, "_MEMORY_BYTES", 1000)
    count = 2 * BATCH_ROWS + 11
    own = spooled("d", many(2 * count))["a"]
    assert len(own) == count
    assert own[BATCH_ROWS].id == str(2 * BATCH_ROWS)
    first, second = iter(own), iter(own)
    assert [next(first).id, next(second).id, next(first).id] == ["0", "0", "2"]
    assert sum(batch.num_rows for batch in raw_batches(own, "")) == count
    assert [one.id for one in own] == [str(2 * number) for number in range(count)]


def test_a_text_that_is_no_unicode_is_named():
    with pytest.raises(CacheError, match=r"dataset 'd', split 'a', example '7': .*surrogates"):
        spooled("d", [("a", Example("7", "\ud83d"))])


def test_a_full_disk_is_told(monkeypatch):
    def full(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(spool.pa.ipc, "new_file", full)
    with pytest.raises(CacheError, match=r"split 'a': the temporary folder .* no space .* TMPDIR"):
        spooled("d", [("a", EXAMPLES[0])])


def test_ids_of_one_hash_are_told_apart():
    assert hash(-1) == hash(-2)
    ids = UniqueIds()
    ids.add([-1, -2, 5])
    assert ids.repeated([-1, -2, 5]) is None
    ids.add([5])
    assert ids.repeated([-1, -2, 5, 5]) == 5
