import json
from dataclasses import replace

import pytest

from promptfuse.cache.examples import (
    DatasetInfo,
    Example,
    read_dataset,
    read_examples,
    write_examples,
)
from promptfuse.errors import CacheError, RunError, UnknownName
from promptfuse.train.data.selection import read_part
from promptfuse.train.evaluate import evaluate_run
from promptfuse.train.record import PROMPT, read_record
from promptfuse.train.report.collect import read_results
from promptfuse.train.report.groups import group_runs
from promptfuse.train.runs.finish import finish_runs
from promptfuse.train.settings import EvalSettings, TrainSettings

from ..small_cache import names_of, write_features, write_sarcasm
from ..small_runs import start_runs

QUICK = TrainSettings(max_steps=2, epochs=1, batch_size=4, prompt_length=2, preset="mustard_low")


@pytest.fixture
def cache(tmp_path):
    """Twelve and six utterances in folds of 8, 6 and 4, half of each True."""
    cache = tmp_path / "cache"
    write_sarcasm(cache, folds=3)
    for modality in ("video", "audio"):
        write_features(cache, modality, names_of("train", 12) + names_of("test", 6))
    return cache


def ids_of(cache, split, fold):
    return read_part(cache, read_dataset(cache, "jokes"), split, fold)[0].ids


def test_each_example_of_either_split_is_tested_in_one_fold(cache):
    everything = {*names_of("train", 12), *names_of("test", 6)}
    tested = []
    for fold in (1, 2, 3):
        tested += ids_of(cache, "test", fold)
        assert {*ids_of(cache, "train", fold)} == everything - {*ids_of(cache, "test", fold)}
    assert sorted(tested) == sorted(everything)
    assert {"train0", "train1", "test0", "test1"} < {*ids_of(cache, "test", 1)}


def test_without_a_fold_the_splits_are_the_datasets_own(cache):
    assert ids_of(cache, "test", None) == read_examples(cache, "jokes", "test").ids


def test_a_draw_is_the_same_for_all_its_folds_and_parts(cache):
    info = read_dataset(cache, "jokes")
    draws = {
        read_part(cache, info, split, fold)[1] for split in ("train", "test") for fold in (1, 3)
    }
    assert len(draws) == 1
    write_sarcasm(cache, folds=2)
    assert read_part(cache, info, "test", 1)[1] not in draws


def test_folds_that_are_not_there(cache):
    info = read_dataset(cache, "jokes")
    with pytest.raises(UnknownName, match="unknown fold of jokes '4'; choose one of: 1, 2, 3"):
        read_part(cache, info, "train", 4)
    with pytest.raises(CacheError, match="has the splits train and test, not 'val'"):
        read_part(cache, info, "val", 1)


def test_a_dataset_without_folds(sarcasm_cache):
    info = read_dataset(sarcasm_cache, "jokes")
    with pytest.raises(CacheError, match="no folds of jokes: its examples name 0"):
        read_part(sarcasm_cache, info, "train", 1)


def test_an_id_in_two_splits(tmp_path):
    one = Example("same", "text", "a", meta={"fold": "1"})
    info = DatasetInfo("d", "table", "text", splits={"train": 1, "test": 1})
    write_examples(tmp_path, info, {"train": [one], "test": [replace(one, meta={"fold": "2"})]}, [])
    with pytest.raises(CacheError, match="d has the id 'same' in two splits"):
        read_part(tmp_path, info, "train", 1)


def test_a_run_trains_and_tests_on_its_fold(cache, tmp_path, plm):
    runs = tmp_path / "runs"
    (folder,) = start_runs(cache, runs, "jokes", plm, replace(QUICK, fold=2, shots=4))
    record = read_record(folder)
    assert folder.name == "0001-jokes-fold2-promptfuse-4shots-seed0"
    assert (record.settings.fold, record.settings.split) == (2, "train")
    assert {*record.example_ids} < {*ids_of(cache, "train", 2)}
    finish_runs([folder], cache, plm, checkpoint_every=9, quiet=True)
    found = evaluate_run(folder, cache, plm, EvalSettings(), quiet=True)
    lines = (folder / "eval-test" / "predictions.jsonl").read_text().splitlines()
    assert [json.loads(line)["id"] for line in lines] == ids_of(cache, "test", 2)
    assert found.metrics.examples == 6
    trained = evaluate_run(folder, cache, plm, EvalSettings(split="train"), quiet=True)
    assert trained.metrics.examples == 12


def test_other_folds_in_the_cache_are_refused(cache, tmp_path, plm):
    (folder,) = start_runs(cache, tmp_path / "runs", "jokes", plm, replace(QUICK, fold=1))
    finish_runs([folder], cache, plm, checkpoint_every=9, quiet=True)
    write_sarcasm(cache, folds=2)
    with pytest.raises(RunError, match=r"0001-jokes-fold1.* was trained on folds of the draw"):
        evaluate_run(folder, cache, plm, EvalSettings(), quiet=True)
    (folder / PROMPT).unlink()  # else it is finished, and left alone
    with pytest.raises(RunError, match=r"0001-jokes-fold1.* was trained on folds of the draw"):
        finish_runs([folder], cache, plm, checkpoint_every=9, quiet=True)


def test_folds_and_seeds_are_one_group(cache, tmp_path, plm):
    runs = tmp_path / "runs"
    folders = []
    for fold in (None, 1, 2, 3):
        started = start_runs(cache, runs, "jokes", plm, replace(QUICK, fold=fold, seeds=2))
        finish_runs(started, cache, plm, checkpoint_every=9, quiet=True)
        folders += started
    for folder in folders:
        evaluate_run(folder, cache, plm, EvalSettings(), quiet=True)
    papers, folded = group_runs(read_results(folders)[0])
    assert (papers.in_folds, len(papers.results)) == (False, 2)
    assert (folded.in_folds, len(folded.results)) == (True, 6)
    by_fold = [(one.record.settings.fold, one.record.settings.seed) for one in folded.results]
    assert by_fold == [(1, 0), (1, 1), (2, 0), (2, 1), (3, 0), (3, 1)]
