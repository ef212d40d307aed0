import pytest

from promptfuse.cache.examples import DatasetInfo, Example, read_examples, write_examples
from promptfuse.errors import CacheError, PlmError
from promptfuse.train.data.candidates import answerable, candidates
from promptfuse.train.data.selection import select
from promptfuse.train.settings import InputChoice

from ..small_bart import small_bart
from ..small_bert import small_bert
from ..small_cache import key_of, names_of, write_features, write_questions


def write_answers(cache, answers, *, task="text", labels=()):
    info = DatasetInfo(
        "mine", "table", task, labels, modalities=("image",), splits={"a": len(answers)}
    )
    examples = [
        Example(id=str(index), text="how many", answer=answer, media={"image": key_of(str(index))})
        for index, answer in enumerate(answers)
    ]
    write_examples(cache, info, {"a": examples})
    write_features(cache, "image", [str(index) for index in range(len(answers))])
    return info


def test_a_question_counts_once_for_what_it_lacks_first(tmp_path):
    write_questions(tmp_path)  # two questions an image: colour, number, yes/no in turn
    write_features(tmp_path, "image", names_of("train", 4), failed=("train4",))
    selection = select(tmp_path, "shapes", "train", InputChoice())
    found = candidates(selection, small_bert())
    assert found.indices.tolist() == [1, 2, 4, 5, 7]  # 8 and 9 lack an image; 9 asks for a colour
    assert (found.without_features, found.unanswerable) == (2, 3)
    found = candidates(selection, small_bart())
    assert found.indices.tolist() == list(range(8))
    assert (found.without_features, found.unanswerable) == (2, 0)


def test_untyped_answers_count_by_their_tokens(tmp_path):
    info = write_answers(tmp_path, ["red", "red blue", "purple", "two"])
    table = read_examples(tmp_path, "mine", "a")
    assert answerable(info, table, small_bert()).tolist() == [True, False, False, True]
    assert answerable(info, table, small_bart()).all()


def test_labels_are_read_by_a_verbaliser_whatever_their_length(tmp_path):
    info = write_answers(tmp_path, ["red blue", "two"], task="label", labels=("red blue", "two"))
    assert answerable(info, read_examples(tmp_path, "mine", "a"), small_bert()).all()


def test_a_split_that_cannot_be_answered_at_all_is_refused(tmp_path):
    write_answers(tmp_path, ["red blue", "purple"])
    selection = select(tmp_path, "mine", "a", InputChoice())
    with pytest.raises(PlmError, match=r"none of the 2 answers of mine: a bert fills one mask"):
        candidates(selection, small_bert())


def test_a_split_without_answers_is_refused(tmp_path):
    write_answers(tmp_path, ["red", None])
    selection = select(tmp_path, "mine", "a", InputChoice())
    with pytest.raises(CacheError, match="split 'a' of mine has no answers to train on"):
        candidates(selection, small_bert())
