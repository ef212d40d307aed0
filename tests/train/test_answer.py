from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from promptfuse.errors import RunError
from promptfuse.train import answer as answering
from promptfuse.train.answer import answer, answer_data
from promptfuse.train.data import FusionData, open_sources
from promptfuse.train.data.selection import select
from promptfuse.train.loop import fuse
from promptfuse.train.record import PROMPT, read_record
from promptfuse.train.runs.finish import finish_runs
from promptfuse.train.settings import EvalSettings, InputChoice, TrainSettings
from promptfuse.train.trained import load_prompt, write_prompt

from .small_plms import SMALL
from .small_runs import start_runs

QUICK = TrainSettings(max_steps=20, batch_size=5, prompt_length=3, lr_prompt=0.1, lr_other=0.02)


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
    trained = load_file(folder / PROMPT)
    with torch.inference_mode():
        fused = fuse(plm, data, {name: trained[name][None] for name in trained}, range(len(data)))
        chances = plm.label_logits(fused, plm.label_ids(("True", "False"))).softmax(dim=1)
    features = select(sarcasm_cache, "jokes", "test", InputChoice()).features
    write_prompt(tmp_path / "shared.safetensors", load_prompt(folder))
    prompt = load_prompt(tmp_path / "shared.safetensors")
    data = answer_data(prompt, plm, selection.table, features)
    answers = answer(prompt, data, EvalSettings(batch_size=4), quiet=True)
    expected = [("True", "False")[int(row.argmax())] for row in chances]
    assert [given.text for given in answers] == expected
    assert [given.probability for given in answers] == pytest.approx(
        chances.max(dim=1).values.tolist(), abs=1e-6
    )
    assert len({given.probability for given in answers}) > 3


def test_answers_that_are_written_have_no_probability(questions_cache, tmp_path, plm):
    (folder,) = start_runs(questions_cache, tmp_path / "runs", "shapes", plm, QUICK)
    finish_runs([folder], questions_cache, plm, checkpoint_every=500, quiet=True)
    selection = select(questions_cache, "shapes", "val", InputChoice())
    prompt = load_prompt(folder)
    data = answer_data(prompt, plm, selection.table, selection.features)
    answers = answer(prompt, data, quiet=True)
    assert [given.probability for given in answers] == [None] * 4
    other = SMALL["bart"](seed=1)
    with pytest.raises(RunError, match=r"weights 0.*, not with small .*weights 1"):
        answer_data(prompt, other, selection.table, selection.features)


def opened(cache, tmp_path, plm, dataset="jokes", split="test", **changes):
    (folder,) = start_runs(cache, tmp_path / "runs", dataset, plm, replace(QUICK, **changes))
    finish_runs([folder], cache, plm, checkpoint_every=500, quiet=True)
    selection = select(cache, dataset, split, InputChoice())
    prompt = load_prompt(folder)
    return prompt, answer_data(prompt, plm, selection.table, selection.features)


@pytest.mark.parametrize(
    "shortage",
    [torch.OutOfMemoryError("CUDA out of memory."), RuntimeError("not enough memory: you tried")],
    ids=["gpu", "cpu"],
)
def test_a_batch_that_does_not_fit_is_halved(
    sarcasm_cache, tmp_path, plm, monkeypatch, capsys, shortage
):
    prompt, data = opened(sarcasm_cache, tmp_path, plm)
    expected = answer(prompt, data, quiet=True)
    sizes = []

    def fuse_once(plm, data, parameters, indices, prefix):
        sizes.append(len(indices))
        if len(sizes) == 2:  # the first batch went well
            raise shortage
        return fuse(plm, data, parameters, indices, prefix)

    monkeypatch.setattr(answering, "fuse", fuse_once)
    assert answer(prompt, data, EvalSettings(batch_size=4), quiet=True) == expected
    assert sizes == [4, 2, 2]
    assert "out of memory: going on with 2 examples at a time; or lower --batch-size" in (
        capsys.readouterr().err
    )


def test_where_not_one_example_fits_the_error_says_what_to_lower(
    sarcasm_cache, tmp_path, plm, monkeypatch
):
    prompt, data = opened(sarcasm_cache, tmp_path, plm)

    def full(*given):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    monkeypatch.setattr(answering, "fuse", full)
    with pytest.raises(RunError, match=r"1 examples at a time: .*--batch-size.*allocate 2 GiB"):
        answer(prompt, data, EvalSettings(batch_size=4), quiet=True)


@pytest.mark.parametrize("family", list(SMALL))
def test_labels_are_told_apart_in_float32_under_bfloat16(sarcasm_cache, tmp_path, family):
    plm = SMALL[family]()
    plm.model.to(torch.bfloat16)
    prompt, data = opened(sarcasm_cache, tmp_path, plm)
    with torch.inference_mode():
        fused = fuse(plm, data, prompt.batched("cpu"), range(len(data)))
        logits = plm.label_logits(fused, plm.label_ids(prompt.about.labels))
    assert logits.dtype == torch.float32
    assert (logits != logits.bfloat16().float()).any()  # more digits than bfloat16 has


@pytest.mark.parametrize("family", list(SMALL))
@pytest.mark.parametrize(("method", "times"), [("blindprompt", 1), ("promptfuse", 0)])
def test_a_prompt_that_sees_no_input_is_run_once_for_all_batches(
    sarcasm_cache, tmp_path, monkeypatch, family, method, times
):
    plm = SMALL[family]()
    prompt, data = opened(sarcasm_cache, tmp_path, plm, method=method)
    lend, lent = plm.lend, []
    monkeypatch.setattr(plm, "lend", lambda prompts: lent.append(prompts) or lend(prompts))
    answers = answer(prompt, data, EvalSettings(batch_size=2), quiet=True)
    assert len(lent) == times
    whole = answer(prompt, data, EvalSettings(batch_size=6), quiet=True)
    assert [given.text for given in answers] == [given.text for given in whole]
    assert [given.probability for given in answers] == pytest.approx(
        [given.probability for given in whole], abs=1e-6
    )


def test_texts_of_like_length_share_a_batch_and_answers_keep_their_order(
    questions_cache, tmp_path, plm, monkeypatch
):
    prompt, data = opened(questions_cache, tmp_path, plm, "shapes", "train")
    data.text_ids = [ids[: 1 + row * 3 % 5] for row, ids in enumerate(data.text_ids)]
    alone = answer(prompt, data, EvalSettings(batch_size=1), quiet=True)
    lengths: list[int] = []

    def fuse_once(plm, data, parameters, indices, prefix):
        lengths.extend(len(data.text_ids[index]) for index in indices)
        return fuse(plm, data, parameters, indices, prefix)

    monkeypatch.setattr(answering, "fuse", fuse_once)
    assert answer(prompt, data, EvalSettings(batch_size=4), quiet=True) == alone
    assert lengths == sorted(len(ids) for ids in data.text_ids)
    assert len(set(lengths)) == 5
    assert len({given.text for given in alone}) > 1
