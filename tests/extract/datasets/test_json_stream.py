import io
import json

import pytest

from promptfuse.extract.datasets import json_stream
from promptfuse.extract.datasets.json_stream import JsonStream, StrictDecoder

CONTENT = {
    "info": {"year": 2017, "list": [1, {"a": {}}]},
    "rows": [{"id": 12, "text": 'a: "b", ü 😀 }]'}, 3.5, -7, "x", [], {}, None, [[{"a": 1}]]],
    "number": 120,
}
LAYOUTS = [
    {},
    {"indent": 3},
    {"separators": (",", ":")},
    {"ensure_ascii": False, "separators": ("\n,\r\n", " : ")},
]


def rows_of(text, name="rows"):
    names = [name] if name else []
    return [row for _, row in JsonStream(io.StringIO(text)).records_at(names)]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("chunk", [1, 2, 7, 1000])
def test_a_list_is_given_whatever_the_chunks(monkeypatch, layout, chunk):
    monkeypatch.setattr(json_stream, "_CHUNK_CHARACTERS", chunk)
    text = f" {json.dumps(CONTENT, **layout)} \n"
    assert rows_of(text) == CONTENT["rows"]
    assert rows_of(json.dumps({"rows": []}, **layout)) == []


@pytest.mark.parametrize("chunk", [1, 1000])
def test_records_lie_in_a_list_or_an_object_at_any_depth(monkeypatch, chunk):
    monkeypatch.setattr(json_stream, "_CHUNK_CHARACTERS", chunk)

    def pairs(value, *names):
        return list(JsonStream(io.StringIO(json.dumps(value))).records_at(names))

    assert pairs([1, {"a": 2}]) == [(None, 1), (None, {"a": 2})]
    assert pairs({"a": 1, "b": [2]}) == [("a", 1), ("b", [2])]
    assert pairs({"x": 0, "a": {"b": {"c": [3]}, "d": 1}, "y": 0}, "a", "b") == [("c", [3])]
    with pytest.raises(ValueError, match="no 'z'"):
        pairs({"a": {}}, "a", "z")


def test_a_text_that_is_cut_off_is_refused(monkeypatch):
    monkeypatch.setattr(json_stream, "_CHUNK_CHARACTERS", 16)
    text = json.dumps(CONTENT)
    for end in range(len(text)):
        with pytest.raises(ValueError, match=r".+"):
            rows_of(text[:end])


@pytest.mark.parametrize(
    "text",
    [
        '{"rows": [1, 2,]}',
        '{"rows": [1 2]}',
        '{"rows": [1],}',
        '{"rows": [1]} x',
        '{"rows": [1], "rows": [2]}',
        '{"rows": [{"a": 1, "a": 2}]}',
        '{"rows": [], "other": {"a": [{"b": 1, "b": 1}]}}',
        '{"other": []}',
        '{1: [], "rows": []}',
        "[]",
        "{}",
        '{"rows": 5}',
        "",
    ],
)
def test_what_is_not_the_expected_object_is_refused(text):
    with pytest.raises(ValueError, match=r".+"):
        rows_of(text)


@pytest.mark.parametrize("text", ['{"a": "x:y", "b": {"a": ":"}}', '[{":": 1}, {":": 2}]', '":"'])
def test_colons_in_texts_are_no_names(text):
    assert StrictDecoder().decode(text) == json.loads(text)


def test_a_name_that_stands_twice_is_named():
    with pytest.raises(ValueError, match="'b' stands twice in one object"):
        StrictDecoder().decode('{"a": [{"b": 1, "c": "::", "b": 2}]}')
