from pathlib import Path

import pytest

from promptfuse.errors import ConfigError
from promptfuse.extract.datasets import read_files
from promptfuse.extract.datasets.ingest import identify


def test_files_anywhere_are_examples_of_one_question(tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    (tmp_path / "one.mp4").write_bytes(b"1")
    (tmp_path / "b" / "two.mp4").write_bytes(b"2")
    monkeypatch.chdir(tmp_path / "a")
    files = [Path("../one.mp4"), tmp_path / "b" / "two.mp4", Path("../one.mp4")]
    raw = read_files(files, "why?", modalities=("video", "audio"))
    found = identify(raw)
    assert [one.path for one in found.media] == [tmp_path / "one.mp4", tmp_path / "b" / "two.mp4"]
    assert {one.modalities for one in found.media} == {frozenset({"video", "audio"})}
    (examples,) = map(list, found.splits.values())
    assert [one.text for one in examples] == ["why?"] * 3
    assert examples[0].media == examples[2].media != examples[1].media


def test_an_image_and_a_clip_are_not_one_file():
    with pytest.raises(ConfigError, match="needs image and audio, which are two files: give a tab"):
        read_files([Path("x.png")], "why?", modalities=("image", "audio"))
