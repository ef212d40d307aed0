import json

import pyarrow as pa
import pytest

from promptfuse.extract.datasets import columns, json_stream, read_raw, recipe, recipe_reader, spool
from promptfuse.extract.datasets.annotations import Irregular, stream_batches
from promptfuse.extract.datasets.recipe_reader import Reader

ROWS = pa.struct({"id": pa.int64(), "text": pa.large_string()})
LAYOUTS = [
    {},
    {"indent": 3},
    {"separators": (",", ":")},
    {"ensure_ascii": False, "separators": ("\n,\r\n", " : ")},
]
TEXTS = ["a", 'b: "c"}, {"id": 5', "ü 😀 }, {", "\\", '}, {"id', ""]


def write(path, content, **layout):
    path.write_text(content if isinstance(content, str) else json.dumps(content, **layout))
    return path


def rows_of(path):
    return [row for part in stream_batches(path, "rows", ROWS) for row in part.to_pylist()]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("chunk", [1, 40, 100, 2**20])
def test_objects_are_the_same_whatever_the_chunks(tmp_path, monkeypatch, layout, chunk):
    monkeypatch.setattr(json_stream, "_CHUNK_CHARACTERS", chunk)
    rows = [{"id": number, "text": TEXTS[number % 6]} for number in range(50)]
    others = [{"more": [{"id": 7}, {"id": 8}], **row, "last": [[1], "x"][row["id"] % 2]}
              for row in rows]  # fmt: skip
    for given in (rows, others, rows[:1], []):
        content = {"info": {}, "rows": given, "rest": [{"x": 1}, {"x": 2}]}
        read = rows_of(write(tmp_path / "a.json", content, **layout))
        assert read == rows[: len(given)]


@pytest.mark.parametrize(
    "content",
    [
        '{"rows": [{"id": 1, "text": "a"}, {"id": 2, "text": "b"}], "rows": []}',
        '{"rows": [{"id": 1, "text": "a"}, {"id": 2, "text": "b", "text": "c"}]}',
        '{"rows": [{"id": 1, "text": "a"}, {"id": 2, "text": "b"}, {"id": 3, "text": 4}]}',
        '{"rows": [{"id": 1, "text": "a"}, {"id": 2, "text": "b"}, {"id": 3.0, "text": "c"}]}',
        '{"rows": [{"id": 1, "text": "a"}, {"id": 2, "text": "b"}, {"id": true, "text": "c"}]}',
        '{"rows": [{"id": 1, "text": "a"}, {"id": 2, "text": "b"}, {"id": 3}]}',
        '{"rows": [{"id": 1, "text": "a"}, {"id": 2, "text": "b"}, null]}',
        '{"rows": [{"id": 1, "text": "a"}, {"id": 2, "text": "\\ud83d"}]}',
        '{"rows": [{"id": 1, "text": "a"}, {"id": 2, "text": "b"}] x}',
        '{"rows": [{"id": 1, "text": "a"}, {"id": 2, "text": "b"}], "x": [{"id": 3}, {"id": 4}]}',
        '{"rows": [{"id": 1, "text": "a"}, {"id": 2, "text": "b"}',
        '{"rows": [{"id": 1, "text": "a"}, {"id": 2, "text": "b"}]}]}',
        '{"rows": [{"id": 1, "text": "a"} {"id": 2, "text": "b"}]}',
        '{"rows": [5, {"id": 2, "text": "b"}]}',
        '{"rows": {}}',
        "[" * 100_000,
        "",
    ],
)
def test_what_is_irregular_is_left_to_be_looked_at(tmp_path, content):
    with pytest.raises(Irregular):
        rows_of(write(tmp_path / "a.json", content))
    with pytest.raises(Irregular):
        rows_of(tmp_path / "absent")


def test_nesting_without_bound_is_no_matter(tmp_path):
    deep = f'{{"id": 2, "text": "b", "deep": {"[" * 100_000}{"]" * 100_000}}}'
    text = f'{{"rows": [{{"id": 1, "text": "a"}}, {deep}, {{"id": 3, "text": "c"}}]}}'
    assert [row["id"] for row in rows_of(write(tmp_path / "a.json", text))] == [1, 2, 3]


def vqa(count, image=lambda number: number // 5):
    asked = [
        {"image_id": image(number), "question": f"What {number}?", "question_id": 3 * number}
        for number in range(count)
    ]
    said = [
        {
            "question_type": "what",
            "multiple_choice_answer": f"{number}",
            "answers": [{"answer": f"{id_ % 7}", "x": 1} for id_ in range(1 + number % 3)],
            "image_id": image(number),
            "answer_type": "other",
            "question_id": 3 * number,
        }
        for number in range(count)
    ]  # fmt: skip
    return asked, said


def written(root, asked, said):
    names = ("v2_OpenEnded_mscoco_train2014_questions.json", "v2_mscoco_train2014_annotations.json")
    return (
        write(root / names[0], {"questions": asked}),
        write(root / names[1], {"annotations": said}),
    )


def one_by_one(monkeypatch):
    def irregular(*_):
        raise Irregular

    monkeypatch.setattr(Reader, "_columns", irregular)


@pytest.mark.parametrize("split", ["train2014", "test2015"])
def test_columns_are_what_one_by_one_gives(tmp_path, monkeypatch, split):
    for module in (spool, columns):
        monkeypatch.setattr(module, "BATCH_ROWS", 16)
    monkeypatch.setattr(json_stream, "_CHUNK_CHARACTERS", 1000)
    asked, said = vqa(100)
    write(tmp_path / f"v2_OpenEnded_mscoco_{split}_questions.json", {"questions": asked})
    if split == "train2014":
        write(tmp_path / f"v2_mscoco_{split}_annotations.json", {"annotations": said})
    [fast] = read_raw("vqav2", tmp_path).splits.values()
    assert [batch.num_rows for batch in fast.batches()] == [16] * 6 + [4]
    one_by_one(monkeypatch)
    [slow] = read_raw("vqav2", tmp_path).splits.values()
    assert list(fast.batches()) == list(slow.batches())


def test_many_are_read_as_columns_and_none_one_by_one(tmp_path, monkeypatch):
    monkeypatch.setattr(recipe_reader, "read_records", None)
    written(tmp_path, *vqa(40))
    assert len(read_raw("vqav2", tmp_path).splits["train"]) == 40


@pytest.mark.parametrize("change", ["order", "more", "fewer", "twice", "negative", "no answers"])
def test_what_columns_cannot_say_is_read_one_by_one(tmp_path, change):
    asked, said = vqa(40, image=lambda number: -number if change == "negative" else number)
    if change == "order":
        said.reverse()
    if change == "more":
        said.append({**said[0], "question_id": 1})
    if change == "fewer":
        said.pop()
    if change == "twice":
        asked.append(asked[0])
        said.append(said[0])
    if change == "no answers":
        said[7]["answers"] = []
    written(tmp_path, asked, said)
    path = recipe.shipped()["vqav2"]
    known = recipe.read_recipe(path)
    reader = Reader(path, known, tmp_path, known.values)
    with pytest.raises(Irregular):
        list(reader._columns(next(reader._parts())))
