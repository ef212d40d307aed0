import json
from collections import Counter

import pytest

from promptfuse.errors import AnnotationInvalid, DatasetMissing
from promptfuse.extract.datasets import folds, read_raw


def read(root, **options):
    return read_raw("mustard", root, options=options)


def utterance(sarcasm, show="BBT", **changes):
    return {
        "utterance": "What a day.",
        "speaker": "HOWARD",
        "context": ["One.", "Two."],
        "context_speakers": ["PENNY", "LEONARD"],
        "show": show,
        "sarcasm": sarcasm,
    } | changes


ONE = json.dumps({"1_9": utterance(True)})


def write(root, content):
    (root / "sarcasm_data.json").write_text(
        content if isinstance(content, str) else json.dumps(content)
    )
    return root


def sample(count=23):
    """Returns utterances of which every third is sarcastic and every fourth is from FRIENDS."""
    return {
        f"1_{i}": utterance(i % 3 == 0, "FRIENDS" if i % 4 == 0 else "BBT") for i in range(count)
    }


def test_an_utterance_becomes_an_example_with_its_clip_twice(tmp_path):
    raw = read(write(tmp_path, {"2_7": utterance(True)}))
    [example] = raw.splits["train"]
    assert (example.id, example.text, example.answer, example.answers) == (
        "2_7", "What a day.", "True", ("True",),
    )  # fmt: skip
    assert example.paths == {
        "video": "utterances_final/2_7.mp4",
        "audio": "utterances_final/2_7.mp4",
    }
    assert example.meta == {
        "speaker": "HOWARD", "show": "BBT", "context": "One.\nTwo.",
        "context_speakers": "PENNY\nLEONARD", "fold": "1",
    }  # fmt: skip
    assert (raw.info.task, raw.info.labels, raw.info.positive) == (
        "label",
        ("True", "False"),
        "True",
    )
    assert raw.info.modalities == ("video", "audio")


def test_the_paper_tests_on_friends(tmp_path):
    splits = read(write(tmp_path, sample())).splits
    assert [e.id for e in splits["test"]] == ["1_0", "1_4", "1_8", "1_12", "1_16", "1_20"]
    assert len(splits["train"]) == 17
    assert Counter(e.answer for e in splits["test"]) == {"True": 2, "False": 4}


def test_a_split_without_members_is_left_out(tmp_path):
    assert list(read(write(tmp_path, {"1": utterance(True)})).splits) == ["train"]


def folds_of(raw):
    return {e.id: e.meta["fold"] for examples in raw.splits.values() for e in examples}


def test_every_utterance_of_both_splits_has_one_fold(tmp_path):
    content = sample()
    folds = folds_of(read(write(tmp_path, content)))
    assert sorted(folds) == sorted(content)
    for fold in "12345":
        tested = [name for name, own in folds.items() if own == fold]
        assert len(tested) in (4, 5)
        # 8 of 23 are sarcastic: one or two in each fold
        assert sum(content[name]["sarcasm"] for name in tested) in (1, 2)


def test_folds_depend_on_the_seed_alone(tmp_path):
    write(tmp_path, sample())
    drawn = [folds_of(read(tmp_path, seed=seed)) for seed in (3, 3, 4)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_folds_of_the_datasets_size():
    labels = ["True", "False"] * 345
    drawn = folds.stratified_folds(labels, count=5, seed=0)
    assert Counter(drawn) == dict.fromkeys(range(5), 138)
    sarcastic = [fold for fold, label in zip(drawn, labels, strict=True) if label == "True"]
    assert Counter(sarcastic) == dict.fromkeys(range(5), 69)


@pytest.mark.parametrize("field", utterance(True))
def test_a_missing_field_is_named(tmp_path, field):
    record = utterance(True)
    del record[field]
    with pytest.raises(AnnotationInvalid, match=rf"data\.json: key 1_9: lacks the field '{field}'"):
        read(write(tmp_path, {"1_9": record}))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"1_9": utterance("yes")}, "key 1_9: answer 'yes' is not one of the labels"),
        ({"1_9": utterance(1)}, "key 1_9: answer '1' is not one of the labels"),
        ({"1_9": utterance(True, utterance=None)}, "field 'utterance' must be text, not None"),
        ({"1_9": []}, r"'1_9': must be an object, not \[\]"),
        ({}, "holds no record"),
        ("[1]", r"sarcasm_data\.json: record 0: must be an object, not 1"),
        (
            json.dumps({"1_9": utterance(True)})[:-1] + ', "1_9": {}}',
            "'1_9' stands twice in one object",
        ),
        (
            json.dumps({"1_9": utterance(True)})[:-1],
            r"sarcasm_data\.json: not JSON: .*line 1 column",
        ),
    ],
)
def test_a_wrong_annotation_is_named(tmp_path, content, message):
    with pytest.raises(AnnotationInvalid, match=message):
        read(write(tmp_path, content))


def test_a_folder_without_the_file(tmp_path):
    with pytest.raises(DatasetMissing, match=r"no file of mustard; expected sarcasm_data\.json"):
        read(tmp_path)
