# ruff: noqa: S311 (content is drawn from a seed; nothing here is a secret)

from random import Random

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from promptfuse.demo import words
from promptfuse.demo.pretraining import encoders
from promptfuse.demo.pretraining.__main__ import MODELS, pretrain
from promptfuse.demo.pretraining.corpus import FORMS, TASKS, Corpus, describe
from promptfuse.demo.pretraining.model import SHIPPED


@pytest.fixture(scope="module")
def tokenizer():
    return PreTrainedTokenizerFast.from_pretrained(SHIPPED / "bart")


def test_text_describes_what_the_pictures_show() -> None:
    scene = words.Scene(2, "red", "cross")
    assert any("red crosses" in describe(scene, Random(i)) for i in range(3))


@pytest.mark.parametrize("name", MODELS)
def test_a_model_is_trained_and_written_with_its_processor(name, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(encoders, "POOL_IMAGES", 100)
    monkeypatch.setattr(encoders, "POOL_SOUNDS", 40)
    before = MODELS[name](0, None).model.state_dict()
    pretrain(name, tmp_path, steps=100, stop_after=2, threads=torch.get_num_threads())
    shipped = {path.name for path in (SHIPPED / name).glob("[!.]*")}  # a memo of hashes aside
    assert {path.name for path in tmp_path.iterdir()} == shipped
    assert (tmp_path / "config.json").read_text() == ((SHIPPED / name) / "config.json").read_text()
    again = MODELS[name](0, tmp_path).model.state_dict()
    assert again.keys() == before.keys()
    changed = [key for key in before if not torch.equal(again[key], before[key].half().float())]
    assert len(changed) > len(before) / 2


@pytest.mark.parametrize("form", FORMS)
def test_a_blind_prompt_sees_itself_alone(tokenizer, form) -> None:
    batch = Corpus(tokenizer, seed=1).batch(64, task="mood", form=form)
    present = batch.attention_mask.bool()
    assert batch.token_ids.shape[:2] == present.shape == batch.positions.shape
    rows_that_see_all = [
        bool((see[there] == there).all()) for see, there in zip(batch.visible, present, strict=True)
    ]
    assert 0 < sum(rows_that_see_all) < 64
    # No one sees padding.
    assert not (batch.visible & ~present[:, None]).any()


def test_a_mood_is_answered_by_whether_words_and_delivery_disagree(tokenizer) -> None:
    batch = Corpus(tokenizer, seed=2).batch(200, task="mood", form="text")
    for ids, label in zip(batch.token_ids[:, :, 0], batch.labels, strict=True):
        *media, said = tokenizer.decode(ids).split("<s>")[1:]  # before them stands the prompt
        shown = "".join(media)
        happy = any(f" {word}." in shown for word in ("smile", "smiling", "happy", "pleased"))
        upset = any(f" {word}." in shown for word in ("frown", "frowning", "unhappy", "upset"))
        if not happy | upset:
            continue
        praise = any(word in said for word in ("love", "enjoyed", "adore", "can recommend"))
        blame = any(word in said for word in ("hate", "regretted", "despise", "can do without"))
        if praise | blame:
            answer = tokenizer.decode(label[label >= 0], skip_special_tokens=True)
            assert answer == str(happy != praise)


def test_every_task_and_form_is_drawn(tokenizer) -> None:
    corpus = Corpus(tokenizer, seed=3)
    for task in TASKS:
        for form in FORMS:
            assert corpus.batch(4, task=task, form=form).labels.shape[0] == 4
    batches = corpus.batches(8, 3, progress=0.3)
    assert [len(batch.labels) for batch in batches] == [8, 8, 8]
