import pytest

from promptfuse.cache.fingerprint import canonical_json, explain_difference, fingerprint
from promptfuse.errors import CacheError


def test_canonical_json_has_one_text_per_value():
    assert canonical_json({"b": [1, 2.5], "a": {"d": None, "c": True}}) == (
        '{"a":{"c":true,"d":null},"b":[1,2.5]}'
    )
    assert canonical_json({"ü": 1}) == '{"\\u00fc":1}'


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}, b"raw"])
def test_what_json_does_not_have_is_refused(value: object):
    with pytest.raises(CacheError, match="cannot be written as JSON"):
        canonical_json({"value": value})


def test_fingerprint_is_the_start_of_the_sha256():
    # printf '{"a":1}' | sha256sum
    assert fingerprint({"a": 1}) == "015abd7f5cc57a2d"
    assert fingerprint({"b": 2, "a": 1}) == fingerprint({"a": 1, "b": 2})


def test_differences_are_named_by_path():
    wanted = {"id": "vit", "preprocessing": {"frames": 16, "mean": [0.5, 0.5]}, "new": 1}
    found = {"id": "vit", "preprocessing": {"frames": 8, "mean": [0.5, 0.4]}, "old": "x"}
    assert explain_difference(wanted, found) == [
        "new: nothing here, 1 wanted",
        'old: "x" here, nothing wanted',
        "preprocessing.frames: 8 here, 16 wanted",
        "preprocessing.mean[1]: 0.4 here, 0.5 wanted",
    ]


def test_lists_of_different_lengths_are_shown_whole():
    assert explain_difference({"size": [1]}, {"size": [1, 2]}) == ["size: [1,2] here, [1] wanted"]
    assert explain_difference({"size": (1, 2)}, {"size": [1, 2]}) == []
    assert explain_difference({"size": 1}, {"size": {"h": 1}}) == ['size: {"h":1} here, 1 wanted']
