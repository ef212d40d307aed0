"""`pfcli demo`'s table, of figures made by hand."""

from pathlib import Path

import pytest

from promptfuse.commands.demo import _table_unseen, comparison
from promptfuse.errors import RunError
from promptfuse.library.workspace import Workspace
from promptfuse.train.report.collect import Result

from ..train.report.made_runs import made_record


def result(f1: float) -> Result:
    always = {"always True": {"f1": 62.0}}
    return Result(
        Path(), made_record(), "test", {"f1": f1}, ("f1",), "f1", 6, always, 0, {}, "0" * 64
    )


def test_methods_stand_over_the_trivial_answers_with_their_spread():
    table = comparison(
        "jokes", {"noprompt": [result(40.0)], "promptfuse": [*map(result, (60, 63))]}
    )
    lines = [line.split() for line in table.text(width=100).split("\n")]
    assert table.title == "jokes: 8 training examples, 6 of 'test', in percent"
    assert lines[3:] == [
        ["noprompt", "40.00", "1"],
        ["promptfuse", "61.50", "±", "2.12", "2"],  # half of 3, and 3 / √2
        ["always", "True", "62.00", "1"],
    ]


def test_an_error_in_another_process_comes_back_as_it_was(tmp_path):
    with pytest.raises(RunError, match="no dataset 'jokes'") as caught:
        _table_unseen(Workspace("jokes", cache=tmp_path), 1, 1)
    assert type(caught.value) is RunError  # a CacheError, of which not every kind can be sent
