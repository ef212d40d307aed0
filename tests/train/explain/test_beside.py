"""Which runs are explained side by side: those that differ in their method alone."""

from dataclasses import fields

import pytest

from promptfuse.train.explain.beside import alike
from promptfuse.train.record import FeatureUse
from promptfuse.train.settings import NOT_A_RESULT, RunSettings, idle

from ..report.made_runs import made_record

RECORD = made_record()
OTHER = {"float": 9.0, "int": 9, "bool": True}
CHANGES = [
    {field.name: OTHER[kind]}
    for field in fields(RunSettings)
    if (kind := type(field.default).__name__) in OTHER
    and field.name not in (*NOT_A_RESULT, "seeds", "data_seed")
]


def test_another_method_alone_is_alike():
    assert alike(RECORD, made_record(method="blindprompt"))
    assert alike(RECORD, made_record(method="noprompt", prompt_length=0, seed=3))
    assert alike(RECORD, made_record(method="blindprompt", threads=1, device="cpu"))


@pytest.mark.parametrize(
    "changes",
    [
        *CHANGES,
        {"width_fix": "pad"},
        {"pool": "none"},
        {"visibility": "full"},
        {"prompt_init": "random"},
        {"dataset": "mustard"},
        {"fold_draw": "d"},
        {"examples_sha256": "1" * 64},
        {"plm": {"source": "/models/small", "family": "bart", "weights_sha256": "2"}},
        {"features": {"video": FeatureUse("aa", "pooler", "small")}},
    ],
    ids=str,
)
def test_any_other_difference_is_not(changes):
    assert not alike(RECORD, made_record(method="blindprompt", **changes))


@pytest.mark.parametrize("changes", CHANGES, ids=str)
def test_without_a_prompt_what_is_trained_makes_no_difference(changes):
    (name,) = changes
    same = alike(RECORD, made_record(method="noprompt", **changes))
    assert same == (name in idle("noprompt") or name == "seed")
