import hashlib
import json

import numpy as np
import pytest

from promptfuse.cache.examples import DatasetInfo, Example, read_examples, write_examples
from promptfuse.train.data import candidates, tokens
from promptfuse.train.data.tokens import Ids, text_ids

from ..small_bart import small_bart
from ..small_bert import small_bert

WORDS = ("how many", "what color is it", "is it red", "")
INFO = DatasetInfo("mine", "table", "text", splits={"a": 10, "a-b": 10})


class Counted:
    """A language model of which it is counted how many texts it tokenises."""

    def __init__(self, plm, *, tokenizer="0" * 64):
        self.plm, self.texts = plm, 0
        self.identity = {**plm.identity, "tokenizer_sha256": tokenizer}
        self.max_positions = plm.max_positions

    def tokenise(self, texts):
        self.texts += len(texts)
        return self.plm.tokenise(texts)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(tokens, "_KEPT_FROM", 4)
    return written(tmp_path)


def written(cache, start=0):
    examples = [Example(str(number), WORDS[(number + start) % 4], "red") for number in range(10)]
    write_examples(cache, INFO, dict.fromkeys(INFO.splits, examples))
    return cache


def same(ids: Ids, expected) -> bool:
    return [ids[index].tolist() for index in range(len(ids))] == expected


def kept(cache):
    return sorted((cache / "examples" / "mine").glob(".tokens*"))


@pytest.mark.parametrize("make", [small_bart, small_bert])
def test_a_split_is_tokenised_once_and_its_parts_never(cache, make):
    table, plm = read_examples(cache, "mine", "a"), Counted(make())
    expected = plm.plm.tokenise(table.texts)
    for _ in range(2):
        assert same(text_ids(table, plm), expected)
    part = table.take([7, 1, 3, 5])
    assert same(text_ids(part, plm), [expected[index] for index in (7, 1, 3, 5)])
    assert same(text_ids(part.take([2, 0, 3, 1]), plm), [expected[i] for i in (3, 7, 5, 1)])
    assert plm.texts == 10
    assert same(text_ids(table.take([9, 0]), plm), [expected[9], expected[0]])
    assert plm.texts == 12  # of few, only these


def test_a_small_part_does_not_cost_the_split(cache):
    plm = Counted(small_bart())
    text_ids(read_examples(cache, "mine", "a").take([0, 1, 2, 3]), plm)
    assert (plm.texts, kept(cache)) == (4, [])


@pytest.mark.parametrize("damage", ["cut", "changed", "empty"])
def test_what_is_damaged_is_made_anew(cache, damage):
    table, plm = read_examples(cache, "mine", "a"), Counted(small_bart())
    expected = plm.plm.tokenise(table.texts)
    text_ids(table, plm)
    [path] = kept(cache)
    whole = path.read_bytes()
    damaged = {"cut": whole[:-1], "changed": whole[:-9] + b"x" + whole[-8:], "empty": b""}[damage]
    path.write_bytes(damaged)
    assert same(text_ids(table, plm), expected)
    assert plm.texts == 20
    assert path.read_bytes() == whole


def test_what_is_kept_is_of_these_examples_and_this_tokenizer(cache):
    plm = Counted(small_bart())
    text_ids(read_examples(cache, "mine", "a-b"), plm)
    text_ids(read_examples(cache, "mine", "a"), plm)
    other = Counted(small_bart(), tokenizer="1" * 64)
    text_ids(read_examples(cache, "mine", "a"), other)
    assert (plm.texts, other.texts, len(kept(cache))) == (20, 10, 3)
    table = read_examples(written(cache, start=1), "mine", "a")
    assert same(text_ids(table, plm), plm.plm.tokenise(table.texts))
    names = [path.name.split("-") for path in kept(cache)]
    assert len(names) == 2  # the split's former ids went, another split's are its own affair
    assert [name[1:3] for name in names] == [["a", table.file.sha256[:16]], ["a", "b"]]


def test_a_cache_that_cannot_be_written_does_without(cache, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(tokens.Folder, "put", refuse)
    table, plm = read_examples(cache, "mine", "a"), Counted(small_bart())
    for times in (1, 2):
        assert same(text_ids(table, plm), plm.plm.tokenise(table.texts))
        assert plm.texts == 10 * times


def test_the_digest_of_examples_is_that_of_their_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(candidates, "_ROWS_AT_ONCE", 3)
    info = DatasetInfo("mine", "table", "text", modalities=("image",), splits={"a": 8})
    media = [{"image": bytes([n]) * 32} if n % 3 else {} for n in range(8)]
    examples = [
        Example(f'"{n}"', "ü\\ 😀" * n, "a" * n or None, media=own) for n, own in enumerate(media)
    ]
    write_examples(tmp_path, info, {"a": examples})
    table = read_examples(tmp_path, "mine", "a").take([5, 0, 7, 1])
    rows = [[e.id, e.text, e.answer, e.media["image"].hex() if e.media else None] for e in table]
    expected = hashlib.sha256("".join(map(json.dumps, rows)).encode()).hexdigest()
    assert candidates.examples_sha256(table, ["image"]) == expected


def test_ids_have_the_examples_places():
    ids = Ids.of([[1, 2], [], [3]], np.array([2, 0, 0, 1]))
    assert same(ids, [[3], [1, 2], [1, 2], []])
    assert same(Ids.of([]), [])
