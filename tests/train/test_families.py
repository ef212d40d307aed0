"""The whole job, from cached features to scored answers, with T5 and BERT (BART in test_runs)."""

import json
from dataclasses import replace

import pytest
import torch

from promptfuse.commands.train import describe
from promptfuse.train.checkpoint import load_trained
from promptfuse.train.evaluate import evaluate_run
from promptfuse.train.record import LOG, PROMPT, read_record
from promptfuse.train.runs import finish
from promptfuse.train.runs.finish import finish_runs
from promptfuse.train.settings import EvalSettings, TrainSettings

from .small_plms import SMALL
from .small_runs import start_runs

SETTINGS = TrainSettings(
    max_steps=60, epochs=99, batch_size=4, lr_prompt=0.05, prompt_length=3, method="blindprompt"
)
METHODS = ["promptfuse", "blindprompt"]


@pytest.fixture(scope="module", params=["bert", "t5"])
def plm(request):
    return SMALL[request.param]()


def trained(cache, runs, plm, dataset, settings=SETTINGS, *, every=1000):
    folders = start_runs(cache, runs, dataset, plm, settings)
    finish_runs(folders, cache, plm, checkpoint_every=every, quiet=True)
    return folders


def losses_of(folder):
    return [json.loads(line)["loss"] for line in (folder / LOG).read_text().splitlines()]


@pytest.mark.parametrize("method", METHODS)
def test_labels(sarcasm_cache, tmp_path, plm, method):
    settings = replace(SETTINGS, method=method)
    (folder,) = trained(sarcasm_cache, tmp_path / "runs", plm, "jokes", settings)
    losses = losses_of(folder)
    assert sum(losses[-10:]) < 0.9 * sum(losses[:10])
    found = evaluate_run(folder, sarcasm_cache, plm, EvalSettings(batch_size=4), quiet=True)
    assert (found.metrics.examples, found.unanswerable) == (6, 0)
    assert found.record.plm["source"] == "small"
    assert found.record.unanswerable_examples == 0


@pytest.mark.parametrize("method", METHODS)
def test_questions(questions_cache, tmp_path, plm, method):
    """Of ten questions four ask for a colour (type "other"), as do two of the four asked later."""
    settings = replace(SETTINGS, method=method)
    (folder,) = trained(questions_cache, tmp_path / "runs", plm, "shapes", settings)
    losses = losses_of(folder)
    assert sum(losses[-10:]) < 0.9 * sum(losses[:10])
    left_out = {"bert": (4, 2), "t5": (0, 0)}[plm.family]
    record = read_record(folder)
    assert (record.train_examples, record.unanswerable_examples) == (10 - left_out[0], left_out[0])
    assert ("4 that bert cannot answer left out" in describe(record)) == (plm.family == "bert")
    found = evaluate_run(folder, questions_cache, plm, EvalSettings(), quiet=True)
    assert found.unanswerable == left_out[1]
    assert found.metrics.examples == 4 - left_out[1]
    assert ("other" in found.metrics.values) == (plm.family == "t5")
    summary = json.loads((found.folder / "metrics.json").read_text())
    assert summary["unanswerable"] == left_out[1]
    results = json.loads((found.folder / "results.json").read_text())
    asked = {"bert": [1001, 1002], "t5": [1000, 1001, 1002, 1003]}[plm.family]
    assert [row["question_id"] for row in results] == asked
    assert all(isinstance(row["answer"], str) for row in results)


@pytest.mark.parametrize("method", METHODS)
def test_runs_trained_side_by_side_are_those_trained_alone(questions_cache, tmp_path, plm, method):
    settings = replace(SETTINGS, method=method, max_steps=5)
    both = trained(questions_cache, tmp_path / "r", plm, "shapes", replace(settings, seeds=2))
    for seed, folder in enumerate(both):
        own = replace(settings, seed=seed)
        (alone,) = trained(questions_cache, tmp_path / "r", plm, "shapes", own)
        one, other = (load_trained(run / PROMPT)[0]["prompt"] for run in (alone, folder))
        torch.testing.assert_close(one, other, atol=1e-3, rtol=1e-3)


class Interrupted(Exception):
    pass


def test_an_interrupted_run_resumes_to_the_same_bits(questions_cache, tmp_path, plm, monkeypatch):
    settings = replace(SETTINGS, max_steps=7, shots=5)
    (whole,) = trained(questions_cache, tmp_path / "r", plm, "shapes", settings)
    folders = start_runs(questions_cache, tmp_path / "r", "shapes", plm, settings)
    save = finish.save_checkpoint

    def save_then_die(path, state):
        save(path, state)
        if state.step >= 4:
            raise Interrupted

    with monkeypatch.context() as patch:
        patch.setattr(finish, "save_checkpoint", save_then_die)
        with pytest.raises(Interrupted):
            finish_runs(folders, questions_cache, plm, checkpoint_every=2, quiet=True)
    finish_runs(folders, questions_cache, plm, checkpoint_every=2, quiet=True)
    before, after = (load_trained(run / PROMPT)[0]["prompt"] for run in (whole, folders[0]))
    assert torch.equal(before, after)
    assert (whole / LOG).read_text() == (folders[0] / LOG).read_text()
