from dataclasses import replace

import pytest

from promptfuse.errors import RunError
from promptfuse.train.answer import answer_all, answer_examples
from promptfuse.train.checkpoint import load_trained
from promptfuse.train.data import FusionData, open_sources
from promptfuse.train.job import finish_runs
from promptfuse.train.runs import PROMPT, read_record
from promptfuse.train.selection import select
from promptfuse.train.settings import EvalSettings, InputChoice, TrainSettings
from promptfuse.train.trained import read_prompt

from .small_plms import SMALL
from .small_runs import start_runs

QUICK = TrainSettings(max_steps=20, batch_size=5, prompt_length=3, lr_prompt=0.1, lr_other=0.02)
FEW = EvalSettings(batch_size=4)


@pytest.mark.parametrize("family", list(SMALL))
@pytest.mark.parametrize(
    "changes",
    [
        {"method": "blindprompt", "modalities": ("audio", "video")},
        {"prompt_encoder": "lstm", "prompt_position": "middle", "pool": "none"},
        {"method": "linear"},
        {"method": "jointproj", "modalities": ("video",)},
        {"method": "noprompt", "pool": "before-norm"},
    ],
    ids=str,
)
def test_a_prompts_file_answers_as_its_run_does(sarcasm_cache, tmp_path, family, changes):
    plm = SMALL[family]()
    settings = replace(QUICK, **changes)
    (folder,) = start_runs(sarcasm_cache, tmp_path / "runs", "jokes", plm, settings)
    finish_runs([folder], sarcasm_cache, plm, checkpoint_every=500, quiet=True)
    record = read_record(folder)
    selection = select(sarcasm_cache, "jokes", "test", record.settings.inputs)
    data = FusionData(selection.table, open_sources(selection, plm), plm, record.settings.fusion)
    own = {name: one[None] for name, one in load_trained(folder / PROMPT)[0].items()}
    expected = answer_all(plm, data, ("True", "False"), own, FEW, quiet=True)
    features = select(sarcasm_cache, "jokes", "test", InputChoice()).features
    answers = answer_examples(
        read_prompt(folder / PROMPT), plm, selection.table, features, FEW, quiet=True
    )
    assert answers == expected
    assert len({one.probability for one in answers}) > 3
    assert all(0.5 <= one.probability <= 1 for one in answers)  # the likelier of two labels


def test_answers_that_are_written_have_no_probability(questions_cache, tmp_path, plm):
    (folder,) = start_runs(questions_cache, tmp_path / "runs", "shapes", plm, QUICK)
    finish_runs([folder], questions_cache, plm, checkpoint_every=500, quiet=True)
    selection = select(questions_cache, "shapes", "val", InputChoice())
    prompt = read_prompt(folder / PROMPT)
    answers = answer_examples(prompt, plm, selection.table, selection.features, FEW, quiet=True)
    assert [one.probability for one in answers] == [None] * 4
    other = SMALL["bart"](seed=1)
    with pytest.raises(RunError, match=r"weights 0.*, not with small .*weights 1"):
        answer_examples(prompt, other, selection.table, selection.features, FEW, quiet=True)
