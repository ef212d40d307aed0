import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from promptfuse.errors import AnnotationInvalid, ConfigError, DatasetMissing
from promptfuse.extract.datasets import table

ROWS = [
    {"id": "a", "text": "What, then?", "answer": "yes", "image": "a.png", "split": "train"},
    {"id": "b", "text": 'Ünd "so"\nweiter', "answer": "no", "audio": "b.wav", "split": "test"},
]


def write_jsonl(folder, rows, name="t.jsonl"):
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    (folder / name).write_text("\n".join(lines))
    return folder


def write_csv(folder, text, name="t.csv"):
    (folder / name).write_bytes(text.encode())
    return folder


def write_parquet(folder, rows, name="t.parquet"):
    pq.write_table(pa.Table.from_pylist(rows), folder / name)
    return folder


def write_csv_rows(folder, rows):
    names = list(dict.fromkeys(name for row in rows for name in row))
    quoted = [['"' + str(row.get(n, "")).replace('"', '""') + '"' for n in names] for row in rows]
    return write_csv(folder, "\r\n".join(",".join(cells) for cells in [names, *quoted]))


def write_parquet_rows(folder, rows):
    names = list(dict.fromkeys(name for row in rows for name in row))
    return write_parquet(folder, [{name: row.get(name) for name in names} for row in rows])


@pytest.mark.parametrize("write", [write_jsonl, write_csv_rows, write_parquet_rows])
def test_the_three_formats_say_the_same(tmp_path, write):
    raw = table.read(write(tmp_path, ROWS))
    assert list(raw.splits) == ["train", "test"]
    [a], [b] = raw.splits["train"], raw.splits["test"]
    assert (a.id, a.text, a.answer, a.answers) == ("a", "What, then?", "yes", ("yes",))
    assert (a.paths, b.paths) == ({"image": "a.png"}, {"audio": "b.wav"})
    assert b.text == 'Ünd "so"\nweiter'
    assert (raw.info.modalities, raw.info.task, raw.info.name) == (("image", "audio"), "text", "t")
    assert raw.root == tmp_path


def test_numbers_truth_and_nulls_become_text_or_nothing(tmp_path):
    rows = [{"id": 7, "text": "t", "answer": True}, {"id": 8, "text": "t", "answer": 3},
            {"id": 9, "text": "t", "answer": None}]  # fmt: skip
    examples = table.read(write_jsonl(tmp_path, rows)).splits["train"]
    assert [(e.id, e.answer) for e in examples] == [("7", "True"), ("8", "3"), ("9", None)]


def test_missing_numbers_of_a_parquet_table_are_no_answers(tmp_path):
    rows = [{"id": 1, "text": "t", "answer": float("nan")}, {"id": 2, "text": "t", "answer": 0.5}]
    examples = table.read(write_parquet(tmp_path, rows)).splits["train"]
    assert [e.answer for e in examples] == [None, "0.5"]


def test_other_columns_are_kept_as_meta(tmp_path):
    rows = [{"id": "a", "text": "t", "source": "x", "n": 2, "tags": ["p"], "none": None}]
    [example] = table.read(write_jsonl(tmp_path, rows)).splits["train"]
    assert example.meta == {"source": "x", "n": "2", "tags": '["p"]'}


def test_columns_can_be_renamed(tmp_path):
    rows = [{"qid": 1, "question": "t", "label": "x", "id": "kept"}]
    columns = {"id": "qid", "text": "question", "answer": "label"}
    [example] = table.read(write_jsonl(tmp_path, rows), columns=columns).splits["train"]
    assert (example.id, example.text, example.answer) == ("1", "t", "x")
    assert example.meta == {"id": "kept"}


def test_several_answers(tmp_path):
    rows = [{"id": 1, "text": "t", "answers": ["red", "blue", "blue"]},
            {"id": 2, "text": "t", "answers": ["red", "blue"], "answer": "blue"}]  # fmt: skip
    one, two = table.read(write_jsonl(tmp_path, rows)).splits["train"]
    assert (one.answer, one.answers) == ("blue", ("red", "blue", "blue"))
    assert (two.answer, two.answers) == ("blue", ("red", "blue"))
    text = 'id,text,answers\n1,t,"[""red"", ""red""]"\n'
    [cell] = table.read(write_csv(tmp_path, text), file="t.csv").splits["train"]
    assert cell.answers == ("red", "red")


def test_spans(tmp_path):
    rows = [{"id": 1, "text": "t", "video": "v.mp4", "start_seconds": 1, "end_seconds": 2.5},
            {"id": 2, "text": "t", "video": "v.mp4", "end_seconds": 2},
            {"id": 3, "text": "t", "video": "v.mp4"}]  # fmt: skip
    examples = table.read(write_jsonl(tmp_path, rows)).splits["train"]
    assert [e.span_seconds for e in examples] == [(1.0, 2.5), (0.0, 2.0), None]
    text = "id,text,video,start_seconds,end_seconds\n1,t,v.mp4,0.5,1\n2,t,v.mp4,,\n"
    examples = table.read(write_csv(tmp_path, text), file="t.csv").splits["train"]
    assert [e.span_seconds for e in examples] == [(0.5, 1.0), None]


def test_labels_make_it_a_label_task(tmp_path):
    raw = table.read(write_jsonl(tmp_path, ROWS), labels=["yes", "no"], positive="yes")
    assert (raw.info.task, raw.info.labels, raw.info.positive) == ("label", ("yes", "no"), "yes")


def test_an_answer_that_is_no_label_is_named(tmp_path):
    with pytest.raises(AnnotationInvalid, match=r"t\.jsonl:2: answer 'no' is not one of .*'yes'"):
        table.read(write_jsonl(tmp_path, ROWS), labels=["yes", "maybe"])


def test_a_byte_order_mark_and_blank_lines_are_passed_over(tmp_path):
    write_csv(tmp_path, "\ufeffid,text\n\n1,t\n")
    assert [e.id for e in table.read(tmp_path).splits["train"]] == ["1"]
    write_jsonl(tmp_path, ["", json.dumps({"id": 1, "text": "t"}), "  "])
    assert len(table.read(tmp_path, file="t.jsonl").splits["train"]) == 1


def test_the_table_itself_can_be_named(tmp_path):
    write_jsonl(tmp_path, ROWS, "one.jsonl")
    write_jsonl(tmp_path, ROWS[:1], "two.jsonl")
    assert len(table.read(tmp_path / "one.jsonl").splits) == 2
    assert len(table.read(tmp_path, file="two.jsonl").splits) == 1
    with pytest.raises(DatasetMissing, match=r"found one\.jsonl, two\.jsonl; name it with `file`"):
        table.read(tmp_path)


def test_a_table_that_is_not_there(tmp_path):
    with pytest.raises(DatasetMissing, match=r"expected one table .* found none"):
        table.read(tmp_path)
    with pytest.raises(DatasetMissing, match=r"x\.jsonl: no such table"):
        table.read(tmp_path, file="x.jsonl")
    (tmp_path / "x.xlsx").write_text("x")
    with pytest.raises(DatasetMissing, match=r"x\.xlsx: a table ends in one of \.jsonl, \.csv"):
        table.read(tmp_path, file="x.xlsx")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"text": "t"}], r"t\.jsonl:1: lacks the field 'id'; it has: text"),
        ([{"id": 1}], r"lacks the field 'text'; it has: id;.*--column text=NAME"),
        ([{"id": 1, "text": ""}], r"t\.jsonl:1: lacks the field 'text'"),
        ([{"id": 1, "text": "t"}] * 2, r"t\.jsonl:2: id '1' comes twice, first at .*jsonl:1"),
        (['{"id": 1, "text": "t"}', "", "{oops"], r"t\.jsonl:3: not JSON"),
        (["[1]"], r"t\.jsonl:1: must be an object, not \[1\]"),
        ([{"id": 1, "text": ["t"]}], r"field 'text' must be text, not \['t'\]"),
        ([{"id": 1, "text": "t", "image": 5}], "field 'image' must be a path, not 5"),
        ([{"id": 1, "text": "t", "image": {"bytes": "x"}}], "field 'image' must be a path"),
        ([{"id": 1, "text": "t", "answers": "x"}], "'answers' must be a JSON list"),
        ([{"id": 1, "text": "t", "answers": [["x"]]}], "'answers' must be a list of texts"),
        ([{"id": 1, "text": "t", "start_seconds": 2}], "start_seconds without end_seconds"),
        ([{"id": 1, "text": "t", "start_seconds": 2, "end_seconds": 2}], r"not \[2\.0, 2\.0\)"),
        (
            [{"id": 1, "text": "t", "end_seconds": "soon"}],
            "must be seconds, not 'soon'",
        ),
        ([], r"t\.jsonl: holds no row"),
        (['{"id": ' + "9" * 5000 + "}"], r"t\.jsonl:1: not JSON: Exceeds the limit"),
        (['{"id": 1, "text": "a", "text": "b"}'], r"t\.jsonl:1: not JSON: 'text' stands twice"),
        ([f'{{"id": 1, "text": "t", "end_seconds": 1{"0" * 400}}}'], "must be seconds, not 1000"),
    ],
)
def test_a_bad_row_is_named_by_file_and_line(tmp_path, rows, message):
    with pytest.raises(AnnotationInvalid, match=message):
        table.read(write_jsonl(tmp_path, rows))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,text\n1,t\n2\n", r"t\.csv:3: 1 cells under a header of 2"),
        ("id,text\n1,t,u\n", r"t\.csv:2: 3 cells under a header of 2"),
        ('id,text\n1,"a\nb"\n1,c\n', r"t\.csv:4: id '1' comes twice, first at .*t\.csv:3"),
        ('id,text\n1,"a\n', r"t\.csv:2: not CSV"),
        ("id,text\n", r"t\.csv: holds no row"),
        ("", r"t\.csv: holds no row"),
        ("id,text,text\n1,a,b\n", r"t\.csv: column 'text' comes 2 times"),
        (
            f'id,text,answers\n1,t,"[{"9" * 5000}]"\n',
            r"t\.csv:2: field 'answers' must be a JSON list",
        ),
    ],
)
def test_a_bad_csv_row_is_named(tmp_path, text, message):
    with pytest.raises(AnnotationInvalid, match=message):
        table.read(write_csv(tmp_path, text))


def test_bytes_that_are_no_table(tmp_path):
    for name, message in [("a.jsonl", "not UTF-8"), ("a.csv", "not UTF-8"),
                          ("a.parquet", "not a Parquet table")]:  # fmt: skip
        (tmp_path / name).write_bytes(b"\xff\xfe\x00\x01" * 10)
        with pytest.raises(AnnotationInvalid, match=rf"{name}: {message}"):
            table.read(tmp_path, file=name)


def test_parquet_rows_are_named_by_number(tmp_path):
    rows = [{"id": 1, "text": "t"}, {"id": 2, "text": None}]
    with pytest.raises(
        AnnotationInvalid, match=r"t\.parquet: row 1: field 'text' must be text, not None"
    ):
        table.read(write_parquet(tmp_path, rows))


@pytest.mark.parametrize(
    "column",
    [
        pa.array([2**62], pa.timestamp("us")),
        pa.StructArray.from_arrays([pa.array([1]), pa.array([2])], ["same", "same"]),
        pa.Array.from_buffers(pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\1\0\0\0"),
                                               pa.py_buffer(b"\xff")]),
    ],
    ids=lambda column: str(column.type),
)  # fmt: skip
def test_a_parquet_value_that_python_lacks_is_named(tmp_path, column):
    rows = pa.table({"id": ["a"], "text": ["t"], "when": column})
    pq.write_table(rows, tmp_path / "t.parquet", store_schema=False)
    with pytest.raises(AnnotationInvalid, match=r"t\.parquet: column 'when': a value of its type"):
        table.read(tmp_path)


def test_a_time_in_nanoseconds_is_text(tmp_path):
    rows = {"id": ["a"], "text": ["t"], "when": pa.array([10**18 + 1], pa.timestamp("ns"))}
    pq.write_table(pa.table(rows), tmp_path / "t.parquet")
    (example,) = table.read(tmp_path).splits["train"]
    assert example.meta == {"when": "2001-09-09 01:46:40.000000001"}


def test_two_parquet_columns_of_one_name_are_told(tmp_path):
    columns = [pa.array(["a"]), pa.array(["t"]), pa.array(["u"])]
    pq.write_table(pa.table(columns, ["id", "text", "text"]), tmp_path / "t.parquet")
    with pytest.raises(AnnotationInvalid, match=r"t\.parquet: column 'text' comes 2 times"):
        table.read(tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"columns": {"txt": "q"}}, "no column 'txt'; there are: id, text, answer"),
        ({"labels": "yes"}, "labels is a list of texts, not 'yes'"),
        (
            {"labels": ["a"], "positive": "b"},
            r"'b' is not one of the labels \['a'\]",
        ),
        ({"positive": "b"}, r"'b' is not one of the labels \[\]"),
    ],
)
def test_options_that_make_no_sense(tmp_path, options, message):
    with pytest.raises(ConfigError, match=message):
        table.read(write_jsonl(tmp_path, ROWS), **options)
