import hashlib
import os
import sys
from pathlib import Path

import pytest

from promptfuse.cache.examples import (
    DatasetInfo,
    Example,
    read_dataset,
    read_examples,
    read_failures,
)
from promptfuse.errors import CacheError, DatasetMissing
from promptfuse.extract.datasets.annotations import RawDataset
from promptfuse.extract.datasets.ingest import MediumRef, ingest
from promptfuse.extract.datasets.media_files import hash_files


def dataset(root, *examples, modalities=("image", "video", "audio"), **splits):
    info = DatasetInfo("d", "table", "label", ("x", "y"), "x", modalities)
    return RawDataset(info, splits or {"train": list(examples)}, root)


def example(id_, span=None, **media):
    return Example(id=id_, text=f"text {id_}", answer="x", paths=media, span_seconds=span)


def sha(text, suffix=b""):
    digest = hashlib.sha256(text.encode()).digest()
    return hashlib.sha256(digest + suffix).digest() if suffix else digest


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    for name in ("a", "b", "c"):
        (folder / name).write_text(name)
    (folder / "copy of a").write_text("a")
    return folder


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


def test_each_medium_comes_once_in_the_order_it_is_named(root, cache):
    raw = dataset(
        root,
        train=[example("1", image="b"), example("2", image="a"), example("3", image="b")],
        test=[example("1", image="c"), example("2", image="copy of a")],
    )
    assert ingest(raw, cache).media == [
        MediumRef(sha("b"), root / "b", frozenset({"image"}), None, "b"),
        MediumRef(sha("a"), root / "a", frozenset({"image"}), None, "a"),
        MediumRef(sha("c"), root / "c", frozenset({"image"}), None, "c"),
    ]


def test_examples_carry_the_keys_of_their_media(root, cache):
    raw = dataset(root, example("1", image="a"), example("2", image="copy of a", audio="b"))
    ingest(raw, cache)
    table = read_examples(cache, "d", "train")
    assert table.ids == ["1", "2"]
    assert table.texts == ["text 1", "text 2"]
    assert table.keys("image") == [sha("a"), sha("a")]
    assert table.keys("audio") == [None, sha("b")]
    assert table.row(1).paths == {"image": "copy of a", "audio": "b"}


def test_the_cache_is_told_what_the_dataset_is(root, cache):
    info = ingest(dataset(root, example("1", image="a")), cache).info
    assert read_dataset(cache, "d") == info
    assert (info.task, info.labels, info.positive) == ("label", ("x", "y"), "x")
    assert (info.adapter, info.splits) == ("table", {"train": 1})


def test_a_clip_is_one_medium_of_two_modalities(root, cache):
    [ref] = ingest(dataset(root, example("1", video="a", audio="a")), cache).media
    assert (ref.key, ref.modalities) == (sha("a"), frozenset({"video", "audio"}))


def test_spans_make_media_of_their_own_but_not_of_images(root, cache):
    raw = dataset(
        root,
        example("1", (0.5, 2.0), video="a", audio="a", image="b"),
        example("2", (2.0, 3.25), video="a"),
        example("3", video="a"),
    )
    media = ingest(raw, cache).media
    assert [(ref.key, ref.span_seconds, sorted(ref.modalities)) for ref in media] == [
        (sha("b"), None, ["image"]),
        (sha("a", b"@0.500-2.000"), (0.5, 2.0), ["audio", "video"]),
        (sha("a", b"@2.000-3.250"), (2.0, 3.25), ["video"]),
        (sha("a"), None, ["video"]),
    ]
    row = read_examples(cache, "d", "train").row(0)
    assert row.media["video"] == sha("a", b"@0.500-2.000")
    assert row.media["image"] == sha("b")


def test_a_file_is_hashed_once(root, cache, monkeypatch):
    read = []
    monkeypatch.setattr(
        sys.modules[hash_files.__module__],
        "file_sha256",
        lambda path: read.append(path.name) or sha(path.read_text()),
    )
    spans = [example(str(i), (i, i + 1), video="a", audio="a") for i in range(5)]
    ingest(dataset(root, *spans, example("x", image="b")), cache)
    assert sorted(read) == ["a", "b"]


def test_choosing_modalities_leaves_the_examples_whole(root, cache):
    raw = dataset(root, example("1", image="b", video="a", audio="a"))
    media = ingest(raw, cache, modalities=["video"]).media
    assert [(ref.name, ref.modalities) for ref in media] == [("a", frozenset({"video"}))]
    assert set(read_examples(cache, "d", "train").row(0).media) == {"image", "video", "audio"}


def test_a_limit_counts_the_examples_of_each_split(root, cache):
    three = [example(str(i), image=name) for i, name in enumerate("abc")]
    found = ingest(dataset(root, train=three, test=three[1:]), cache, limit=1)
    assert found.info.splits == {"train": 1, "test": 1}
    assert [ref.name for ref in found.media] == ["a", "b"]
    assert read_examples(cache, "d", "test").ids == ["1"]


def test_a_limit_keeps_the_whole_dataset_that_the_cache_holds(root, cache):
    three = [example(str(i), image=name) for i, name in enumerate("abc")]
    whole = dataset(root, train=three, test=three[1:])
    ingest(whole, cache)
    found = ingest(whole, cache, limit=1)
    assert [ref.name for ref in found.media] == ["a", "b"]
    assert read_examples(cache, "d", "train").ids == ["0", "1", "2"]
    assert read_examples(cache, "d", "test").ids == ["1", "2"]
    ingest(dataset(root, train=three[:1], test=three[1:]), cache)
    assert read_examples(cache, "d", "train").ids == ["0"]


@pytest.mark.parametrize("split", ["train", "dev"])
def test_a_limit_does_not_replace_another_dataset(root, cache, split: str):
    three = [example(str(i), image=name) for i, name in enumerate("abc")]
    ingest(dataset(root, train=three), cache)
    with pytest.raises(CacheError, match=r"holds 3 examples of 'd' that do not.*a limit would"):
        ingest(dataset(root, **{split: three[1:]}), cache, limit=2)
    assert read_examples(cache, "d", "train").ids == ["0", "1", "2"]


def test_a_bad_medium_is_recorded_and_the_rest_goes_on(root, cache, tmp_path):
    (tmp_path / "secret").write_text("secret")
    (root / "empty").touch()
    (root / "folder").mkdir()
    (root / "link").symlink_to(tmp_path / "secret")
    (root / "dangling").symlink_to(root / "nowhere")
    (root / "loop").symlink_to(root / "loop")
    os.mkfifo(root / "pipe")
    bad = {
        "none": "missing",
        "a/x": "missing",
        "dangling": "missing",
        "nul\0": "missing",
        "../secret": "outside-data-folder",
        str(tmp_path / "secret"): "outside-data-folder",
        "link": "outside-data-folder",
        "folder/../../secret": "outside-data-folder",
        "empty": "empty",
        "folder": "unreadable",
        "loop": "unreadable",
        "pipe": "unreadable",
    }
    named = [example(str(i), image=path, audio="a") for i, path in enumerate(bad)]
    found = ingest(dataset(root, *named), cache)
    assert {failure.path: failure.reason for failure in found.failures} == bad
    assert [ref.name for ref in found.media] == ["a"]
    assert read_failures(cache, "d") == found.failures
    table = read_examples(cache, "d", "train")
    assert table.keys("image") == [None] * len(bad)
    assert table.keys("audio") == [sha("a")] * len(bad)
    assert table.row(0).paths["image"] == "none"


def test_failures_are_the_same_wherever_the_data_lies(root, cache):
    found = ingest(dataset(root, example("1", image="none", audio="a")), cache)
    assert [failure.message for failure in found.failures] == ["no such file"]


@pytest.mark.parametrize("path", ["link/../a", "./a", "sub/../a", "inner"])
def test_paths_that_stay_inside_are_followed(root, cache, path):
    (root / "sub").mkdir()
    (root / "link").symlink_to(root / "sub")
    (root / "inner").symlink_to(root / "a")
    [ref] = ingest(dataset(root, example("1", image=path)), cache).media
    assert ref.key == sha("a")


def test_an_absolute_path_inside_is_followed(root, cache):
    [ref] = ingest(dataset(root, example("1", image=str(root / "a"))), cache).media
    assert ref.path == root / "a"


def test_the_data_folder_may_be_a_link_itself(root, cache, tmp_path):
    (tmp_path / "alias").symlink_to(root)
    [ref] = ingest(dataset(tmp_path / "alias", example("1", image="a")), cache).media
    assert ref.key == sha("a")


def test_the_data_folder_may_be_given_relative(root, cache, monkeypatch):
    monkeypatch.chdir(root.parent)
    [ref] = ingest(dataset(Path("data"), example("1", image="a")), cache).media
    assert ref.key == sha("a")


def test_the_wrong_folder_is_told_at_once(root, cache):
    raw = dataset(root, example("1", image="x/1.jpg"), example("2", image="x/2.jpg"))
    with pytest.raises(DatasetMissing, match=r"none of the 2 media .* the first is x/1\.jpg"):
        ingest(raw, cache)
    assert not cache.exists()


def test_a_dataset_of_text_alone(root, cache):
    found = ingest(dataset(root, example("1"), modalities=()), cache)
    assert found.media == []
    assert read_examples(cache, "d", "train").ids == ["1"]


def test_twice_the_same_gives_the_same_bytes(root, cache):
    raw = dataset(root, *(example(str(i), image="abc"[i % 3]) for i in range(50)))

    def files():
        return {path.name: path.read_bytes() for path in cache.rglob("*") if path.is_file()}

    first = ingest(raw, cache)
    before = files()
    second = ingest(raw, cache)
    assert files() == before
    assert first == second
