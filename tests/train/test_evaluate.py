import hashlib
import json
from dataclasses import replace

import pytest
import torch

from promptfuse.errors import CacheError
from promptfuse.train.evaluate import evaluate_run, ids_sha256
from promptfuse.train.runs.finish import finish_runs
from promptfuse.train.settings import EvalSettings, TrainSettings

from .small_runs import start_runs

SETTINGS = TrainSettings(max_steps=80, epochs=99, batch_size=5, lr_prompt=0.05, prompt_length=4)


def trained(cache, runs, plm, dataset, **changes):
    folders = start_runs(cache, runs, dataset, plm, replace(SETTINGS, **changes))
    finish_runs(folders, cache, plm, checkpoint_every=500, quiet=True)
    return folders[0]


def test_labels(sarcasm_cache, tmp_path, plm):
    folder = trained(sarcasm_cache, tmp_path / "runs", plm, "jokes")
    found = evaluate_run(folder, sarcasm_cache, plm, EvalSettings(batch_size=4), quiet=True)
    assert found.split == "test"
    rows = [
        json.loads(line) for line in (found.folder / "predictions.jsonl").read_text().splitlines()
    ]
    assert [row["id"] for row in rows] == [f"test{index}" for index in range(6)]
    assert {row["prediction"] for row in rows} <= {"True", "False"}
    right = [row["prediction"] == row["answer"] for row in rows]
    assert found.metrics.values["accuracy"] == pytest.approx(100 * sum(right) / 6, abs=0.01)
    assert found.trivial["always True (majority)"].values["recall"] == 100
    summary = json.loads((found.folder / "metrics.json").read_text())
    assert summary["metrics"]["values"] == dict(found.metrics.values)


def test_questions(questions_cache, tmp_path, plm):
    folder = trained(questions_cache, tmp_path / "runs", plm, "shapes")
    found = evaluate_run(folder, questions_cache, plm, EvalSettings(), quiet=True)
    assert found.split == "val"
    results = json.loads((found.folder / "results.json").read_text())
    assert [row["question_id"] for row in results] == [1000, 1001, 1002, 1003]
    assert set(found.metrics.values) == {
        "overall",
        "always-normalised",
        "yes/no",
        "number",
        "other",
    }
    lines = (found.folder / "predictions.jsonl").read_text().splitlines()
    right = [row["prediction"] == row["answer"] for row in map(json.loads, lines)]
    assert found.metrics.values["overall"] == pytest.approx(100 * sum(right) / 4)
    assert [row["answer"] for row in results] == [json.loads(line)["prediction"] for line in lines]
    assert found.trivial["always yes"].values["yes/no"] == 100


def test_the_batch_size_changes_no_answer(questions_cache, tmp_path, plm):
    folder = trained(questions_cache, tmp_path / "runs", plm, "shapes", max_steps=5)
    file = folder / "eval-train" / "predictions.jsonl"
    evaluate_run(
        folder, questions_cache, plm, EvalSettings(split="train", batch_size=1), quiet=True
    )
    alone = file.read_text()
    evaluate_run(
        folder, questions_cache, plm, EvalSettings(split="train", batch_size=7), quiet=True
    )
    assert file.read_text() == alone


def test_unknown_split(sarcasm_cache, tmp_path, plm):
    folder = trained(sarcasm_cache, tmp_path / "runs", plm, "jokes", max_steps=1)
    with pytest.raises(CacheError, match="'val'"):
        evaluate_run(folder, sarcasm_cache, plm, EvalSettings(split="val"), quiet=True)


def test_a_damaged_prompt_is_not_taken_for_a_whole_one(sarcasm_cache, tmp_path, plm):
    folder = trained(sarcasm_cache, tmp_path / "runs", plm, "jokes", max_steps=1)
    file = folder / "prompt.safetensors"
    file.write_bytes(file.read_bytes()[:-7])
    with pytest.raises(ValueError, match=r"prompt\.safetensors is damaged"):
        evaluate_run(folder, sarcasm_cache, plm, EvalSettings(), quiet=True)


def test_bfloat16_language_model_trains(sarcasm_cache, tmp_path, plm):
    from .small_bart import small_bart

    narrow = small_bart()
    narrow.model.to(torch.bfloat16)
    folder = trained(sarcasm_cache, tmp_path / "runs", narrow, "jokes", max_steps=3)
    found = evaluate_run(folder, sarcasm_cache, narrow, EvalSettings(), quiet=True)
    assert found.metrics.examples == 6


def figures(cache, runs, plm, dataset, **given):
    folder = trained(cache, runs, plm, dataset, max_steps=1)
    found = evaluate_run(folder, cache, plm, EvalSettings(**given), quiet=True)
    return json.loads((found.folder / "metrics.json").read_text())


def test_the_figures_say_how_answers_were_generated(questions_cache, tmp_path, plm):
    summary = figures(
        questions_cache, tmp_path / "runs", plm, "shapes", batch_size=3, max_new_tokens=7
    )
    assert summary["answering"] == {
        "by": "greedy", "max_new_tokens": 7, "batch_size": 3, "plm_dtype": "float32",
    }  # fmt: skip


def test_the_figures_say_that_labels_were_read(sarcasm_cache, tmp_path, plm):
    summary = figures(sarcasm_cache, tmp_path / "runs", plm, "jokes")
    assert summary["answering"] == {"by": "labels", "batch_size": 128, "plm_dtype": "float32"}


def test_the_figures_name_the_examples_that_were_scored(questions_cache, tmp_path, plm):
    both = [
        figures(questions_cache, tmp_path / "runs", plm, "shapes", split=split)["ids_sha256"]
        for split in ("val", "train")
    ]
    scored = [
        hashlib.sha256(text).hexdigest()
        for text in (b"1000\n1001\n1002\n1003", b"0\n1\n2\n3\n4\n5\n6\n7\n8\n9")
    ]
    assert both == scored


def test_the_order_of_ids_changes_no_hash_and_a_missing_one_does():
    assert ids_sha256(["b", "a"]) == ids_sha256(["a", "b"])
    assert ids_sha256(["a"]) != ids_sha256(["a", "b"])
