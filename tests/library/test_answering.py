"""A trained prompt asked from Python, about media that no cache holds yet."""

import json

import numpy as np
import PIL.Image
import pytest

from promptfuse.errors import ConfigError, MediumError, PretrainedError
from promptfuse.extract.settings import ExtractSettings
from promptfuse.library.answering import Answerer
from promptfuse.library.extraction import extract
from promptfuse.library.training import train
from promptfuse.library.workspace import Workspace
from promptfuse.train.settings import TrainSettings
from promptfuse.train.trained import load_prompt

from ..extract.tiny_models import save_tower
from ..train.small_bart import save_small_bart

TEXTS = ("how many", "nice day")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run on four images, read as one of two labels, and the folder of all its files."""
    folder = tmp_path_factory.mktemp("library")
    rows = []
    for number in range(4):
        pixels = np.random.default_rng(number).integers(0, 256, (24, 30, 3), dtype=np.uint8)
        PIL.Image.fromarray(pixels).save(folder / f"{number}.png")
        answer = ["yes", "no"][number % 2]
        rows.append({"id": str(number), "text": TEXTS[number % 2], "answer": answer})
        rows[-1] |= {"image": f"{number}.png", "split": "train"}
    (folder / "rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    save_tower(folder / "tower")
    save_small_bart(folder / "bart")
    workspace = Workspace(
        dataset="mine",
        data=str(folder / "rows.jsonl"),
        cache=folder / "cache",
        runs=folder / "runs",
    )
    labels = {"labels": ["yes", "no"]}
    towers = {"image": str(folder / "tower")}
    settings = ExtractSettings(modality=("image",), encoder=towers, options=labels)
    extract(workspace, settings)
    few = TrainSettings(max_steps=80, batch_size=4, epochs=99, prompt_length=3, lr_prompt=0.1)
    few = TrainSettings(**vars(few) | {"plm": str(folder / "bart"), "width_fix": "orthogonal"})
    train(workspace, few, quiet=True)
    return folder


@pytest.fixture
def answerer(folder, tmp_path):
    (run,) = (folder / "runs").glob("[0-9]*")
    return Answerer(load_prompt(run), cache=tmp_path / "fresh")


def test_a_prompt_answers_in_a_fresh_cache_and_prints_nothing(answerer, folder, capfd):
    answers = [answerer.answer(text=TEXTS[n], image=folder / f"{n}.png") for n in range(2)]
    assert [answer.text for answer in answers] == ["yes", "no"]  # as it was trained to
    assert all(0.5 < answer.probability <= 1 for answer in answers)
    assert answerer.answer(TEXTS[0], image=str(folder / "0.png")) == answers[0]
    assert capfd.readouterr().out == ""


def test_the_language_model_is_loaded_once(answerer, folder):
    first = answerer.plm
    answerer.answer(text="how many", image=folder / "0.png")
    assert answerer.plm is first


@pytest.mark.parametrize(
    ("media", "message"),
    [
        ({}, "reads image, not text alone"),
        ({"video": "0.png"}, "reads image, not video"),
        ({"image": "0.png", "audio": "0.wav"}, "reads image, not audio and image"),
    ],
    ids=str,
)
def test_other_media_than_the_prompt_reads_are_refused(answerer, media, message):
    with pytest.raises(ConfigError, match=message):
        answerer.answer(text="how many", **media)


def test_a_medium_that_cannot_be_used_is_named(answerer, folder):
    with pytest.raises(MediumError, match=r"absent\.png: missing: no such file"):
        answerer.answer(text="how many", image=folder / "absent.png")


def test_a_language_model_that_moved_can_be_named(folder, tmp_path):
    (run,) = (folder / "runs").glob("[0-9]*")
    lost = Answerer(load_prompt(run), cache=tmp_path / "fresh", plm=str(folder / "nowhere"))
    with pytest.raises(PretrainedError, match=r"nowhere.*if it lies elsewhere"):
        lost.answer(text="how many", image=folder / "0.png")
