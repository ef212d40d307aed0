import hashlib
import json
from pathlib import Path
from random import Random

import av
import numpy as np
import pytest
from PIL import Image

from promptfuse.demo import GENERATORS, generate
from promptfuse.demo.media import render_scene
from promptfuse.demo.mustard import Mustard
from promptfuse.demo.vqa import Vqa
from promptfuse.demo.words import Scene
from promptfuse.errors import ConfigError

SMALL = {
    "vqa": Vqa(train=6, val=3, questions=4),
    "mustard": Mustard(train=6, test=4),
}


def small(name: str, root: Path, seed: int = 0) -> Path:
    return generate(root / f"a-{name}", SMALL[name], seed=seed)


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


@pytest.mark.parametrize("name", sorted(GENERATORS))
def test_same_seed_gives_the_same_bytes(name: str, tmp_path: Path) -> None:
    first, second = small(name, tmp_path / "a"), small(name, tmp_path / "b")
    assert digests(first) == digests(second)


@pytest.mark.parametrize("name", sorted(GENERATORS))
def test_another_seed_gives_other_media(name: str, tmp_path: Path) -> None:
    first, second = digests(small(name, tmp_path / "a")), digests(small(name, tmp_path / "b", 1))
    media = {digest for path, digest in first.items() if path.endswith((".jpg", ".mp4"))}
    assert media
    assert not media & set(second.values())


@pytest.mark.parametrize("name", sorted(GENERATORS))
def test_a_second_call_writes_nothing(name: str, tmp_path: Path) -> None:
    folder = small(name, tmp_path)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert small(name, tmp_path) == folder
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_a_folder_with_another_seed_is_left_alone(tmp_path: Path) -> None:
    folder = small("vqa", tmp_path)
    before = digests(folder)
    with pytest.raises(ConfigError, match=r"a-vqa exists and does not hold .* with seed 5"):
        small("vqa", tmp_path, seed=5)
    assert digests(folder) == before


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "a-mustard").mkdir()
    (tmp_path / "a-mustard" / "mine.txt").write_text("mine")
    with pytest.raises(ConfigError, match="a-mustard exists"):
        small("mustard", tmp_path)
    assert (tmp_path / "a-mustard" / "mine.txt").read_text() == "mine"


def test_a_failure_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []

    def render(scene: Scene, rng: Random) -> np.ndarray:
        if len(drawn) == 4:
            raise OSError("disk full at image 5")
        drawn.append(scene)
        return render_scene(scene, rng)

    monkeypatch.setattr("promptfuse.demo.vqa.render_scene", render)
    with pytest.raises(OSError, match="disk full at image 5"):
        small("vqa", tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("questions", [0, 21])
def test_number_of_questions_is_checked(questions: int) -> None:
    with pytest.raises(ConfigError, match=f"1 to 20, not {questions}"):
        Vqa(questions=questions)


def test_vqa_layout(tmp_path: Path) -> None:
    folder = small("vqa", tmp_path)
    for year, images in (("train2014", 6), ("val2014", 3)):
        questions = json.loads((folder / f"v2_OpenEnded_mscoco_{year}_questions.json").read_text())
        annotations = json.loads((folder / f"v2_mscoco_{year}_annotations.json").read_text())
        assert len(questions["questions"]) == len(annotations["annotations"]) == 4 * images
        asked = {q["question_id"]: q for q in questions["questions"]}
        assert len(asked) == 4 * images
        assert len({q["image_id"] for q in asked.values()}) == images
        for annotation in annotations["annotations"]:
            assert asked[annotation["question_id"]]["image_id"] == annotation["image_id"]
            assert annotation["answer_type"] in {"yes/no", "number", "other"}
            assert [a["answer_id"] for a in annotation["answers"]] == list(range(1, 11))
            given = [a["answer"] for a in annotation["answers"]]
            assert given.count(annotation["multiple_choice_answer"]) >= 7
            path = folder / year / f"COCO_{year}_{annotation['image_id']:012d}.jpg"
            with Image.open(path) as image:
                assert (image.format, image.size, image.mode) == ("JPEG", (64, 64), "RGB")


def test_mustard_layout(tmp_path: Path) -> None:
    folder = small("mustard", tmp_path)
    data = json.loads((folder / "sarcasm_data.json").read_text())
    assert len(data) == 10
    assert sum(entry["show"] == "FRIENDS" for entry in data.values()) == 4
    for name, entry in data.items():
        expected = {"utterance", "speaker", "context", "context_speakers", "show", "sarcasm"}
        assert set(entry) == expected
        assert len(entry["context"]) == len(entry["context_speakers"])
        with av.open(str(folder / "utterances_final" / f"{name}.mp4")) as clip:
            video, sound = clip.streams.video[0], clip.streams.audio[0]
            assert (video.codec_context.name, video.width, video.height) == ("h264", 64, 64)
            assert (sound.codec_context.name, sound.rate) == ("aac", 16_000)
            frames = sum(1 for _ in clip.decode(video))
            assert frames in {8, 10}
