"""Examples set aside of the training split: never trained on, and a split to choose settings on."""

import json
from dataclasses import replace

import pytest

from promptfuse.cache.examples import DatasetInfo, Example, read_examples, write_examples
from promptfuse.errors import ConfigError, RunError, ShotsError
from promptfuse.train.evaluate import evaluate_run
from promptfuse.train.record import PROMPT, evaluations, read_record
from promptfuse.train.report.collect import read_results
from promptfuse.train.report.groups import group_runs
from promptfuse.train.report.predictions import browse
from promptfuse.train.runs import finish
from promptfuse.train.runs.finish import finish_runs
from promptfuse.train.settings import EvalSettings, TrainSettings

from .small_cache import write_sarcasm
from .small_runs import start_runs

QUICK = TrainSettings(
    dev=4, max_steps=3, epochs=9, batch_size=4, prompt_length=2, preset="mustard_low"
)
DEV = EvalSettings(split="dev")


@pytest.fixture
def trained(sarcasm_cache, tmp_path, plm, monkeypatch):
    """Train runs; return their folders and the ids that each one's plan held."""
    seen = []

    def watched(plm_, data, task, plans, *rest, **options):
        seen.extend([[data.table.ids[index] for index in run.plan.indices] for run in plans])
        return plain(plm_, data, task, plans, *rest, **options)

    plain = finish.train
    monkeypatch.setattr(finish, "train", watched)

    def run(**changes):
        seen.clear()
        settings = replace(QUICK, **changes)
        folders = start_runs(sarcasm_cache, tmp_path / "runs", "jokes", plm, settings)
        finish_runs(folders, sarcasm_cache, plm, checkpoint_every=9, quiet=True)
        return folders, list(seen)

    return run


@pytest.mark.parametrize("shots", [6, None])
def test_what_is_set_aside_is_not_trained_on(trained, sarcasm_cache, shots):
    folders, plans = trained(shots=shots, seeds=2)
    everything = {*read_examples(sarcasm_cache, "jokes", "train").ids}
    for folder, ids in zip(folders, plans, strict=True):
        record = read_record(folder)
        assert len(record.dev_ids) == 4
        assert {*record.dev_ids} <= everything - {*ids}
        assert len(ids) == record.train_examples == (shots or 8)


def test_shots_are_the_same_without_it(trained):
    ids = [read_record(trained(shots=6, dev=dev)[0][0]).example_ids for dev in (None, 4)]
    assert ids[0] == ids[1]


def test_dev_is_a_split_of_the_run(trained, sarcasm_cache, plm):
    (folder,), _ = trained(shots=6)
    found = evaluate_run(folder, sarcasm_cache, plm, DEV, quiet=True)
    lines = (folder / "eval-dev" / "predictions.jsonl").read_text().splitlines()
    assert [json.loads(line)["id"] for line in lines] == read_record(folder).dev_ids
    assert (found.split, found.metrics.examples) == ("dev", 4)
    assert evaluate_run(folder, sarcasm_cache, plm, EvalSettings(), quiet=True).split == "test"
    assert list(evaluations(folder)) == ["dev", "test"]
    (by_default,), _ = read_results([folder])
    (on_dev,), _ = read_results([folder], split="dev")
    assert (by_default.split, on_dev.split) == ("test", "dev")
    assert read_results([folder], split="val") == ([], [folder.name])
    (shown,), notes = browse(
        group_runs([on_dev]), sarcasm_cache, thumbnail=lambda *_: None, max_images=0
    )
    assert notes == []
    assert [row["id"] for row in shown.content["examples"]] == read_record(folder).dev_ids
    assert None not in shown.content["runs"][0]["predictions"]


def test_the_majority_is_that_of_what_was_left_to_train_on(trained, sarcasm_cache, plm):
    (folder,), _ = trained(shots=None, dev=6)  # three of each class: six and six are left even
    found = evaluate_run(folder, sarcasm_cache, plm, DEV, quiet=True)
    assert set(found.trivial) == {"always True (majority)", "always False"}


def test_runs_with_and_without_are_two_groups(trained, sarcasm_cache, plm):
    folders = [trained(shots=6, dev=dev)[0][0] for dev in (None, 2, 4)]
    for folder in folders:
        evaluate_run(folder, sarcasm_cache, plm, EvalSettings(), quiet=True)
    assert len(group_runs(read_results(folders)[0])) == 3


def test_without_it_there_is_no_dev(trained, sarcasm_cache, plm):
    (folder,), _ = trained(dev=None)
    assert read_record(folder).dev_ids is None
    with pytest.raises(RunError, match=r"0001-jokes.* set no examples aside.*: test, train"):
        evaluate_run(folder, sarcasm_cache, plm, DEV, quiet=True)


def test_a_cache_without_a_runs_examples_is_refused(trained, sarcasm_cache, plm):
    (folder,), _ = trained(shots=6)
    write_sarcasm(sarcasm_cache, train=2)
    with pytest.raises(RunError, match=r"0001-jokes.* drew the example 'train\d+'"):
        evaluate_run(folder, sarcasm_cache, plm, DEV, quiet=True)
    (folder / PROMPT).unlink()  # what is finished is left as it is
    with pytest.raises(RunError, match=r"0001-jokes.* drew the example 'train\d+'"):
        finish_runs([folder], sarcasm_cache, plm, checkpoint_every=9, quiet=True)


def test_too_many(trained):
    with pytest.raises(ShotsError, match="--dev 7: there are 12"):
        trained(shots=6, dev=7)


def test_a_dataset_with_a_dev_split_of_its_own(sarcasm_cache, tmp_path, plm):
    table = read_examples(sarcasm_cache, "jokes", "train")
    splits: dict[str, list[Example]] = {"train": list(table), "dev": list(table.take([0, 1]))}
    info = DatasetInfo(
        "own", "table", "label", ("True", "False"), "True", ("video", "audio"),
        {"train": 12, "dev": 2},
    )  # fmt: skip
    write_examples(sarcasm_cache, info, splits, [])
    with pytest.raises(ConfigError, match="own has a split 'dev' of its own: leave out --dev 4"):
        start_runs(sarcasm_cache, tmp_path / "runs", "own", plm, QUICK)
    (folder,) = start_runs(sarcasm_cache, tmp_path / "runs", "own", plm, replace(QUICK, dev=None))
    finish_runs([folder], sarcasm_cache, plm, checkpoint_every=9, quiet=True)
    assert evaluate_run(folder, sarcasm_cache, plm, DEV, quiet=True).metrics.examples == 2
