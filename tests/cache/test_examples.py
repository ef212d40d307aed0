import hashlib
import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from promptfuse.cache.commits import Failure
from promptfuse.cache.examples import (
    DatasetInfo,
    Example,
    ExampleTable,
    read_dataset,
    read_datasets,
    read_examples,
    read_failures,
    write_examples,
)
from promptfuse.cache.keys import BLANK_KEY, unpack_keys
from promptfuse.cache.objects import Folder, Placed
from promptfuse.cache.sealed import seal, unseal
from promptfuse.errors import CacheBusy, CacheError, CacheVersionError, ShardCorrupt

KEY = b"\x07" * 28 + bytes(4)
EXAMPLES = [
    Example(
        id="q1",
        text="what is this?",
        answer="cat",
        answers=("cat", "cat", "a cat"),
        answer_type="other",
        question_type="what is",
        media={"image": KEY, "audio": b"\x08" * 32},
        paths={"image": "train/1.jpg", "audio": "train/1.wav"},
        meta={"speaker": "Ann", "show": "X"},
    ),
    Example(id="q2", text="", answer="", paths={"image": "train/missing.jpg"}),
    Example(id="q3", text="ünï\n\0😀", media={"image": KEY}),
]
INFO = DatasetInfo(
    name="trial-1.0",
    adapter="vqav2",
    task="label",
    labels=("True", "False"),
    positive="True",
    modalities=("image", "audio"),
    splits={"train": 3, "val": 0},
)
FAILURES = [Failure(None, "train/missing.jpg", "missing", "no such file: train/missing.jpg")]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_examples(tmp_path, INFO, {"train": EXAMPLES, "val": []}, FAILURES)
    return tmp_path


def test_what_is_written_is_read(root: Path):
    assert read_dataset(root, "trial-1.0") == INFO
    table = read_examples(root, "trial-1.0", "train")
    assert list(table) == EXAMPLES
    assert [table.row(n) for n in range(3)] == EXAMPLES
    assert list(read_examples(root, "trial-1.0", "val")) == []
    assert read_failures(root, "trial-1.0") == FAILURES


def test_columns(root: Path):
    table = read_examples(root, "trial-1.0", "train")
    assert len(table) == 3
    assert table.ids == ["q1", "q2", "q3"]
    assert table.texts == ["what is this?", "", "ünï\n\0😀"]
    assert table.answers == ["cat", "", None]
    assert table.references == [["cat", "cat", "a cat"], [], []]
    assert table.answer_types == ["other", None, None]
    assert table.question_types == ["what is", None, None]
    assert table.modalities == ("image", "audio")
    assert table.keys("image") == [KEY, None, KEY]
    assert table.keys("audio") == [b"\x08" * 32, None, None]
    joined = ExampleTable.joined(
        [table, table.take([2, 1]), read_examples(root, "trial-1.0", "val")]
    )
    for some in (table, joined, table.take([1]), table.take([])):
        for modality in table.modalities:
            packed = some.packed_keys(modality)
            assert packed.dtype == np.uint8
            assert unpack_keys(packed) == [key or BLANK_KEY for key in some.keys(modality)]
    for read in (table.keys, table.packed_keys):
        with pytest.raises(CacheError, match="have image, audio, not 'video'"):
            read("video")


def test_what_the_meta_says(root: Path):
    table = read_examples(root, "trial-1.0", "train")
    name, value = next(iter(EXAMPLES[0].meta.items()))
    assert table.meta(name) == [value, None, None]


def test_joining(root: Path):
    table = read_examples(root, "trial-1.0", "train")
    joined = ExampleTable.joined([table, read_examples(root, "trial-1.0", "val"), table.take([1])])
    assert list(joined) == [*EXAMPLES, EXAMPLES[1]]


def test_taking_some(root: Path):
    table = read_examples(root, "trial-1.0", "train").take([2, 0, 2])
    assert table.ids == ["q3", "q1", "q3"]
    assert list(table) == [EXAMPLES[2], EXAMPLES[0], EXAMPLES[2]]
    assert table.keys("image") == [KEY] * 3
    assert len(table.take([])) == 0
    for index in (3, -1):
        with pytest.raises(IndexError, match=f"example {index} of 3"):
            table.row(index)


def test_many_examples_cross_blocks(tmp_path: Path):
    examples = [Example(str(n), f"text {n}", meta={"n": str(n)}) for n in range(10_000)]
    info = DatasetInfo("many", "table", "text", splits={"all": len(examples)})
    write_examples(tmp_path, info, {"all": examples})
    table = read_examples(tmp_path, "many", "all")
    assert list(table) == examples
    assert table.row(9_999) == examples[9_999]


def test_same_examples_give_the_same_bytes(root: Path, folder_bytes):
    folder = root / "examples" / "trial-1.0"
    before = folder_bytes(folder)
    shuffled = replace(EXAMPLES[0], meta={"show": "X", "speaker": "Ann"})
    write_examples(root, INFO, {"train": [shuffled, *EXAMPLES[1:]], "val": []}, FAILURES)
    assert folder_bytes(folder) == before
    stems = sorted(name.split("-")[0] for name in before)
    assert stems == ["dataset.json", "failures", "train", "val"]
    for name in set(before) - {"dataset.json"}:
        stem = name.split("-")[1].split(".")[0]
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest().startswith(stem)


def test_a_split_that_went_away_is_removed(root: Path):
    info = DatasetInfo("trial-1.0", "vqav2", "vqa", splits={"test": 1})
    write_examples(root, info, {"test": [Example("1", "t")]})
    (path,) = (root / "examples" / "trial-1.0").glob("*.arrow")
    assert path.name.startswith("test-")
    assert read_failures(root, "trial-1.0") == []
    with pytest.raises(CacheError, match=r"'trial-1\.0' has no split 'train'; it has test"):
        read_examples(root, "trial-1.0", "train")


def test_datasets_are_listed_by_name(root: Path):
    write_examples(root, DatasetInfo("b", "table", "text"), {})
    (root / "examples" / "half-made").mkdir()
    assert [info.name for info in read_datasets(root)] == ["b", "trial-1.0"]
    assert read_datasets(root / "nowhere") == []


def test_no_dataset_names_the_command(tmp_path: Path):
    for read in (read_dataset, read_failures):
        with pytest.raises(
            CacheError, match=r"no dataset 'x' in .*; run: pfcli extract --dataset x"
        ):
            read(tmp_path, "x")
    with pytest.raises(CacheError, match="no dataset 'x'"):
        read_examples(tmp_path, "x", "train")


@pytest.mark.parametrize(
    ("examples", "message"),
    [
        ([Example("1", "a"), Example("1", "b")], "split 'train', example '1': this id comes twice"),
        ([Example("1", "a", media={"smell": KEY})], "example '1': modality 'smell' is not among"),
        ([Example("1", "a", paths={"taste": "x"})], "example '1': modality 'taste' is not among"),
        ([Example("1", "a", media={"image": b"short"})], "example '1': a medium's key has 32"),
        ([Example("1", "lone \ud83d")], r"example '1': .*surrogates not allowed"),
        ([], r"splits \{'train': 1\} said, \{'train': 0\} given"),
    ],
)
def test_bad_examples_are_named(tmp_path: Path, examples: list[Example], message: str):
    count = len(examples) or 1
    info = DatasetInfo("d", "table", "text", modalities=("image",), splits={"train": count})
    with pytest.raises(CacheError, match=message):
        write_examples(tmp_path, info, {"train": examples})
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden", "-x", "a" * 101])
def test_names_are_names_of_files(name: str):
    with pytest.raises(CacheError, match=f"{name!r} cannot name a dataset"):
        DatasetInfo(name, "table", "text")
    with pytest.raises(CacheError, match=f"{name!r} cannot name a split"):
        DatasetInfo("d", "table", "text", splits={name: 1})


def test_a_newer_dataset_is_refused(root: Path):
    path = root / "examples" / "trial-1.0" / "dataset.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema_version": 3}))
    with pytest.raises(CacheVersionError, match=r"version 3, .* up to version 2; upgrade"):
        read_examples(root, "trial-1.0", "train")


def split_file(root: Path, split: str = "train") -> Path:
    (path,) = (root / "examples" / "trial-1.0").glob(f"{split}-*.arrow")
    return path


def test_a_damaged_split_names_the_command(root: Path):
    path = split_file(root)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ShardCorrupt, match=rf"{path.name}: bytes changed.*; run: pfcli extract"):
        read_examples(root, "trial-1.0", "train")
    path.unlink()
    with pytest.raises(ShardCorrupt, match=r"No such file.*; run: pfcli extract --dataset trial"):
        read_examples(root, "trial-1.0", "train")


def write_as(root: Path, content: bytes) -> None:
    """Make a file the train split, its hash being right."""
    folder = root / "examples" / "trial-1.0"
    dataset = unseal((folder / "dataset.json").read_bytes(), folder)
    (folder / "forged.arrow").write_bytes(content)
    forged = Placed("forged.arrow", hashlib.sha256(content).hexdigest(), len(content))
    dataset["files"]["train"] = asdict(forged)
    (folder / "dataset.json").write_bytes(seal(dataset))


def test_a_split_that_is_no_table_of_examples_is_refused_though_its_hash_is_right(root: Path):
    content = split_file(root).read_bytes()
    write_as(root, bytes(100))
    with pytest.raises(ShardCorrupt, match=r"forged\.arrow: not a sound Arrow file"):
        read_examples(root, "trial-1.0", "train")
    write_as(root, split_file(root, "val").read_bytes())
    with pytest.raises(ShardCorrupt, match=r"3 examples were written, it has 0"):
        read_examples(root, "trial-1.0", "train")
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, pa.schema({"id": pa.string()})) as writer:
        writer.write_table(pa.table({"id": ["1", "2", "3"]}))
    write_as(root, sink.getvalue().to_pybytes())
    with pytest.raises(ShardCorrupt, match=r"not a table of the columns \['id', 'text'"):
        read_examples(root, "trial-1.0", "train")
    wrong = content.replace(b"what is this?", b"what is th\xffs?")
    write_as(root, wrong)
    with pytest.raises(ShardCorrupt, match=r"Invalid UTF8"):
        read_examples(root, "trial-1.0", "train")


def test_no_byte_of_a_dataset_changes_what_is_read(root: Path):
    folder = root / "examples" / "trial-1.0"

    def read() -> tuple[object, ...]:
        info = read_dataset(root, "trial-1.0")
        tables = [list(read_examples(root, "trial-1.0", split)) for split in ("train", "val")]
        return info, tables, read_failures(root, "trial-1.0")

    before, noticed = read(), 0
    for path in sorted(folder.iterdir()):
        content = path.read_bytes()
        for place in range(0, len(content), 1 if path.suffix != ".arrow" else 7):
            path.write_bytes(
                content[:place] + bytes([content[place] ^ 0x21]) + content[place + 1 :]
            )
            try:
                assert read() == before, (path, place)
            except CacheError as error:
                noticed += 1
                assert str(folder) in str(error), (path, place)  # noqa: PT017
        path.write_bytes(content)
    assert noticed > 1000
    assert read() == before


def test_what_fails_while_examples_are_replaced_leaves_the_former_ones(root: Path, monkeypatch):
    def full(folder: Folder, name: str, content: bytes) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(Folder, "put", full)
    with pytest.raises(OSError, match="no space left"):
        write_examples(root, replace(INFO, splits={"train": 1}), {"train": EXAMPLES[:1]})
    assert list(read_examples(root, "trial-1.0", "train")) == EXAMPLES
    assert read_failures(root, "trial-1.0") == FAILURES


def test_a_file_that_another_writer_took_away_is_noticed(root: Path, monkeypatch):
    put = Folder.put

    def put_and_lose(folder: Folder, name: str, content: bytes) -> None:
        put(folder, name, content)
        split_file(root, "val").unlink()

    monkeypatch.setattr(Folder, "put", put_and_lose)
    with pytest.raises(CacheBusy, match=r"replaced dataset 'trial-1\.0' in the same instant"):
        write_examples(root, INFO, {"train": EXAMPLES, "val": []})


def test_a_file_outside_the_folder_is_refused(root: Path):
    folder = root / "examples" / "trial-1.0"
    dataset = unseal((folder / "dataset.json").read_bytes(), folder)
    dataset["files"]["train"]["name"] = "../../elsewhere.arrow"
    (folder / "dataset.json").write_bytes(seal(dataset))
    with pytest.raises(CacheError, match=r"'\.\./\.\./elsewhere\.arrow' is not the name of a file"):
        read_dataset(root, "trial-1.0")


def test_a_dataset_whose_name_is_nearly_right_is_asked_for(tmp_path: Path):
    info = DatasetInfo("demo-mustard", "mustard", "text", splits={})
    write_examples(tmp_path, info, {})
    with pytest.raises(CacheError, match=r"'demo-mustrad' in .*did you mean 'demo-mustard'\?"):
        read_dataset(tmp_path, "demo-mustrad")
