import json

import pytest

from promptfuse.errors import AnnotationInvalid, DatasetMissing
from promptfuse.extract.datasets import json_stream, read_raw


def read(root, *, name=None, **options):
    return read_raw("vqav2", root, name=name, options=options)


TEN = ["yes"] * 7 + ["no", "maybe", "yes"]


def question(id_, image, text="Is it red?"):
    return {"question_id": id_, "image_id": image, "question": text}


def annotation(id_, image, answer="yes", **changes):
    answers = [
        {"answer": text, "answer_confidence": "yes", "answer_id": place}
        for place, text in enumerate(TEN, start=1)
    ]
    return {
        "question_id": id_,
        "image_id": image,
        "question_type": "is it",
        "answer_type": "yes/no",
        "multiple_choice_answer": answer,
        "answers": answers,
    } | changes


def write_questions(root, name, questions):
    path = root / f"v2_OpenEnded_mscoco_{name}_questions.json"
    path.write_text(json.dumps({"questions": questions}))
    return path


def write_annotations(root, name, annotations):
    path = root / f"v2_mscoco_{name}_annotations.json"
    path.write_text(json.dumps({"annotations": annotations}))
    return path


def write_train(root, questions, annotations):
    write_questions(root, "train2014", questions)
    write_annotations(root, "train2014", annotations)


def test_questions_get_their_ten_answers_and_official_image_names(tmp_path):
    write_train(tmp_path, [question(9000, 9), question(9001, 9)], [annotation(9001, 9, "no"),
                annotation(9000, 9)])  # fmt: skip
    raw = read(tmp_path)
    first, second = raw.splits["train"]
    assert (first.id, first.text, first.answer, second.answer) == (
        "9000",
        "Is it red?",
        "yes",
        "no",
    )
    assert first.answers == tuple(TEN)
    assert (first.answer_type, first.question_type) == ("yes/no", "is it")
    assert first.paths == {"image": "train2014/COCO_train2014_000000000009.jpg"}
    assert (raw.info.task, raw.info.modalities, raw.info.name, raw.info.positive) == (
        "vqa",
        ("image",),
        "vqav2",
        None,
    )
    assert read(tmp_path, name="mine").info.name == "mine"


def test_each_split_is_found_by_its_own_file_and_test_has_no_answers(tmp_path):
    write_questions(tmp_path, "val2014", [question(1, 5)])
    write_annotations(tmp_path, "val2014", [annotation(1, 5)])
    write_questions(tmp_path, "test2015", [question(1, 7), question(2, 8)])
    write_questions(tmp_path, "test-dev2015", [question(2, 8)])
    splits = read(tmp_path).splits
    assert {name: len(examples) for name, examples in splits.items()} == {
        "val": 1, "test": 2, "test-dev": 1,
    }  # fmt: skip
    assert splits["test"][0].answer is None
    assert splits["test"][0].answers == ()
    assert splits["test-dev"][0].paths == {"image": "test2015/COCO_test2015_000000000008.jpg"}
    assert splits["val"][0].paths == {"image": "val2014/COCO_val2014_000000000005.jpg"}


def test_questions_without_annotations_are_counted_and_the_first_is_named(tmp_path):
    write_train(tmp_path, [question(n, 5) for n in (1, 2, 3)], [annotation(1, 5)])
    told = r"questions\.json: .* no annotation has question_id 2; 2 records have none"
    with pytest.raises(AnnotationInvalid, match=told):
        read(tmp_path)


def test_images_may_lie_in_a_folder_of_their_own(tmp_path):
    write_train(tmp_path, [question(1, 5)], [annotation(1, 5)])
    (tmp_path / "images" / "train2014").mkdir(parents=True)
    [example] = read(tmp_path).splits["train"]
    assert example.paths["image"] == "images/train2014/COCO_train2014_000000000005.jpg"
    [example] = read(tmp_path, images="coco").splits["train"]
    assert example.paths["image"] == "coco/train2014/COCO_train2014_000000000005.jpg"


def test_annotations_in_another_order(tmp_path, monkeypatch):
    monkeypatch.setattr(json_stream, "_CHUNK_CHARACTERS", 64)
    asked = [question(number, number // 5) for number in range(40)]
    said = [annotation(number, number // 5, f"no {number}") for number in range(39, -1, -1)]
    write_train(tmp_path, asked, said)
    answers = {int(one.id): one.answer for one in read(tmp_path).splits["train"]}
    assert answers == {number: f"no {number}" for number in range(40)}


def test_an_empty_folder_is_named_with_what_was_expected(tmp_path):
    with pytest.raises(DatasetMissing, match=r"v2_OpenEnded_mscoco_train2014_questions\.json"):
        read(tmp_path)


def test_answers_that_should_be_there_and_are_not(tmp_path):
    write_questions(tmp_path, "train2014", [question(1, 5)])
    with pytest.raises(DatasetMissing, match=r"v2_mscoco_train2014_annotations\.json: no such"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("questions", "annotations", "message"),
    [
        ([], [], "holds no record"),
        (["x"], [], r"questions\.json: questions 0: must be an object, not 'x'"),
        ([{"image_id": 1, "question": "?"}], [], "questions 0: lacks the field 'question_id'"),
        ([{"question_id": 7, "question": "?"}], [annotation(7, 1)], "question_id 7: .*image_id"),
        ([question(7, 1, None)], [annotation(7, 1)], "7: field 'question' must be text, not None"),
        ([question(7, 1), question(7, 2)], [annotation(7, 1)], "no annotation has question_id 7"),
        ([question(7, 1)], [annotation(7, 1)] * 2,
         r"annotations\.json: question_id 7: question_id 7 is not asked for, or comes twice"),
        ([question(7, 1)], [annotation(8, 1)], "no annotation has question_id 7"),
        ([question(7, 1)], [annotation(7, 2)], "image_id 2, but .*question_id 7 has image_id 1"),
        ([question(7, 1)], [annotation(7, 1, answers=[])],
         r"7: field 'answers\[\]\.answer' is empty"),
        ([question(7, 1)], [annotation(7, 1, answers=[{"answer_id": 1}])],
         r"question_id 7: has no 'answers\[\]\.answer'"),
        ([question(7, 1)], [annotation(7, 1, answers="yes")],
         r"question_id 7: has no 'answers\[\]\.answer'; 'answers' is 'yes'"),
    ],
)  # fmt: skip
def test_a_wrong_annotation_is_named(tmp_path, questions, annotations, message):
    write_train(tmp_path, questions, annotations)
    with pytest.raises(AnnotationInvalid, match=message):
        read(tmp_path)


@pytest.mark.parametrize("field", ["multiple_choice_answer", "answer_type", "question_type",
                                   "answers", "image_id", "question_id"])  # fmt: skip
def test_a_missing_field_is_named(tmp_path, field):
    record = annotation(7, 1)
    del record[field]
    write_train(tmp_path, [question(7, 1)], [record])
    with pytest.raises(AnnotationInvalid, match=rf"annotations\.json: .*'{field}"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"questions": [\n{"question_id": 1,,', r"questions\.json: not JSON: .* line 2 column"),
        (b"[]", r"questions\.json: must be an object, not \[\]"),
        (b"{}", r"questions\.json: lacks the field 'questions'; it has: none"),
        (b'{"questions": {}}', "holds no record"),
        (b"\xff\xfe\x00", r"questions\.json: not UTF-8 text at byte 0"),
        (b"[" * 100_000, r"questions\.json: not JSON: nested too deeply"),
        (b"", r"questions\.json: not JSON: .* line 1 column"),
        (b'{"questions": [], "questions": []}', "not JSON: 'questions' stands twice in one object"),
        (b'{"questions": [' + b"9" * 5000 + b"]}", "not JSON: Exceeds the limit"),
    ],
)
def test_a_file_that_is_not_the_expected_json(tmp_path, content, message):
    path = write_questions(tmp_path, "test2015", [])
    path.write_bytes(content)
    with pytest.raises(AnnotationInvalid, match=message):
        read(tmp_path)
