"""What is fuzzed: readers, each given a file as a forger would write it, hashes made right.

A target is a folder's path → (its first inputs, what reads one input). Reading may end in a
`PromptFuseError` and in no other exception.
"""

import contextlib
import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from promptfuse.cache.commits import Commit, Failure, commit_object, put_commit
from promptfuse.cache.examples import (
    DATASET_NAME,
    DatasetInfo,
    Example,
    read_datasets,
    read_examples,
    read_failures,
    write_examples,
)
from promptfuse.cache.manifest import MANIFEST_NAME, FieldSpec, Manifest
from promptfuse.cache.objects import Folder
from promptfuse.cache.sealed import seal
from promptfuse.cache.store import FeatureSet, FeatureWriter
from promptfuse.errors import PromptFuseError
from promptfuse.extract.datasets import read_raw
from promptfuse.extract.datasets.ingest import ingest

Target = Callable[[Path], tuple[list[bytes], Callable[[bytes], None]]]

_FIELDS = (FieldSpec("pooler", "float16", (4,)), FieldSpec("frames", "float32", (3,), ragged=True))


def feature_set(folder: Path, format: str = "arrow") -> Path:  # noqa: A002
    """Return the folder of a small feature set with a failure."""
    manifest = Manifest(
        "video", {"id": "tower", "sampling": {"rule": "uniform", "count": 8}}, _FIELDS
    )
    with FeatureWriter(folder, manifest, format=format) as writer:
        for number in range(3):
            frames = np.full((number, 3), number, dtype=np.float32)
            row = {"pooler": np.ones(4, dtype=np.float16), "frames": frames}
            writer.append(hashlib.sha256(bytes([number])).digest(), row)
        writer.fail(Failure(bytes(32), "bad.mp4", "damaged", "it is cut short"))
    return writer.path


def read_set(path: Path) -> None:
    """Read all of a feature set."""
    features = FeatureSet.open(path)
    for spec in features.manifest.fields:
        features.read(features.keys, spec.name).values.sum()
        features.count_steps(spec.name)
    assert len(features) == len(features.keys)
    repr((features.failures, features.formats, features.encoder, features.size_bytes))


def shards(format: str) -> Target:  # noqa: A002
    """Return the target of one format's shards, which their commit vouches for."""

    def target(folder: Path) -> tuple[list[bytes], Callable[[bytes], None]]:
        path = feature_set(folder, format)
        place = Folder(path)
        (commit,) = FeatureSet.open(path).commits

        def one(data: bytes) -> None:
            sha256 = hashlib.sha256(data).hexdigest()
            stem, _, _ = commit.file.rpartition("-")
            file = f"{stem}-{sha256[:16]}{Path(commit.file).suffix}"
            (path / file).write_bytes(data)
            forged = replace(commit, file=file, size_bytes=len(data), sha256=sha256)
            put_commit(place, forged, replace=True)
            try:
                read_set(path)
            finally:
                (path / file).unlink()

        return [(path / commit.file).read_bytes()], one

    return target


def resealed(data: bytes) -> bytes:
    """Return a sealed object with its checksum made right, or what cannot be one as it is."""
    try:
        content = json.loads(data)
        content.pop("checksum", None)
        return seal(content)
    except (ValueError, TypeError, AttributeError, RecursionError, PromptFuseError):
        return data


def manifests(folder: Path) -> tuple[list[bytes], Callable[[bytes], None]]:
    """Return the target of manifests, their fingerprints made right."""
    path = feature_set(folder)

    def one(data: bytes) -> None:
        with contextlib.suppress(Exception):  # what is no manifest at all is given as it is
            content = json.loads(data)
            content["fingerprint"] = fingerprint_of(content)
            data = json.dumps(content).encode()
        (path / MANIFEST_NAME).write_bytes(resealed(data))
        read_set(path)

    return [(path / MANIFEST_NAME).read_bytes()], one


def fingerprint_of(content: dict[str, Any]) -> str:
    """Return the fingerprint that a manifest as JSON should say."""
    specs = tuple(FieldSpec(**spec) for spec in content["fields"])
    manifest = Manifest(content["modality"], content["identity"], specs, content["provenance"])
    return manifest.fingerprint


def commits(folder: Path) -> tuple[list[bytes], Callable[[bytes], None]]:
    """Return the target of commits, each under the name of its media."""
    path = feature_set(folder)
    (commit,) = FeatureSet.open(path).commits
    named = Folder(path).path(commit_object(commit.name))
    first = named.read_bytes()

    def one(data: bytes) -> None:
        named.unlink(missing_ok=True)
        data, place = resealed(data), named
        with contextlib.suppress(Exception):
            content = json.loads(data)
            del content["checksum"]
            place = Folder(path).path(commit_object(Commit.from_json(content, place).name))
        place.write_bytes(data)
        try:
            read_set(path)
        finally:
            place.unlink()

    return [first], one


def dataset(folder: Path) -> Path:
    """Return the folder of a small dataset's examples."""
    rows = [
        Example("1", "what, then?", "yes", ("yes", "no"), "yes/no", "what", {"image": bytes(32)},
                {"image": "1.png"}, meta={"speaker": "a"}),
        Example("2", "und?"),
    ]  # fmt: skip
    info = DatasetInfo(
        "mine", "table", "label", ("yes", "no"), "yes", ("image",), {"train": 2, "test": 1}
    )
    failures = [Failure(None, "2.png", "missing", "no such file")]
    write_examples(folder, info, {"train": rows, "test": rows[1:]}, failures)
    return folder / "examples" / "mine"


def read_dataset(folder: Path) -> None:
    """Read all of a cache's datasets."""
    for info in read_datasets(folder):
        for split in info.splits:
            table = read_examples(folder, info.name, split)
            for modality in table.modalities:
                table.keys(modality)
            repr([*table])
        repr(read_failures(folder, info.name))


def datasets(folder: Path) -> tuple[list[bytes], Callable[[bytes], None]]:
    """Return the target of `dataset.json`."""
    path = dataset(folder) / DATASET_NAME

    def one(data: bytes) -> None:
        path.write_bytes(resealed(data))
        read_dataset(folder)

    return [path.read_bytes()], one


def examples(kind: str) -> Target:
    """Return the target of a split's examples or of the failures, vouched for by dataset.json."""

    def target(folder: Path) -> tuple[list[bytes], Callable[[bytes], None]]:
        place = dataset(folder)
        content = json.loads((place / DATASET_NAME).read_text())
        del content["checksum"]
        record = content["failures"] if kind == "failures" else content["files"][kind]
        path = place / record["name"]

        def one(data: bytes) -> None:
            path.write_bytes(data)
            record.update(sha256=hashlib.sha256(data).hexdigest(), size_bytes=len(data))
            (place / DATASET_NAME).write_bytes(seal(content))
            read_dataset(folder)

        return [path.read_bytes()], one

    return target


_ROWS = [
    {"id": "a", "text": "What, then?", "answer": "yes", "image": "a.png", "split": "train",
     "answers": ["yes", "no"], "more": [1, {"deep": None}]},
    {"id": 2, "text": "und", "answer": "no", "video": "b.mp4", "start_seconds": 1.5,
     "end_seconds": 3, "split": "test", "question_type": "how", "weight": 0.5},
]  # fmt: skip
_MEDIA = ("a.png", "utterances_final/1_9.mp4", "train2014/COCO_train2014_000000000009.jpg")
_UTTERANCE = {"utterance": "so?", "speaker": "A", "context": ["b"], "context_speakers": ["B"],
              "show": "FRIENDS", "sarcasm": True}  # fmt: skip
_QUESTION = {"question_id": 7, "image_id": 9, "question": "what colour?"}
_ANNOTATION = {"question_id": 7, "image_id": 9, "multiple_choice_answer": "red",
               "answer_type": "other", "question_type": "what", "answers": [
                   {"answer": "red", "answer_id": 1, "answer_confidence": "yes"}]}  # fmt: skip


def annotations(adapter: str, name: str, first: bytes, **others: bytes) -> Target:
    """Return the target of an annotation file, read and written into a cache."""

    def target(folder: Path) -> tuple[list[bytes], Callable[[bytes], None]]:
        data_folder = folder / "data"
        for medium in _MEDIA:
            (data_folder / medium).parent.mkdir(parents=True, exist_ok=True)
            (data_folder / medium).write_bytes(b"not looked into")
        for other, content in others.items():
            (data_folder / f"{other}.json").write_bytes(content)

        def one(data: bytes) -> None:
            (data_folder / name).write_bytes(data)
            ingest(read_raw(adapter, data_folder), folder / "cache")
            read_dataset(folder / "cache")

        return [first], one

    return target


def _parquet() -> bytes:
    sink = pa.BufferOutputStream()
    rows = [{**row, "id": str(row["id"]), "more": None} for row in _ROWS]
    pq.write_table(pa.Table.from_pylist(rows, _SCHEMA), sink)
    return sink.getvalue().to_pybytes()


_SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("id", "text", "answer", "image", "video", "split")),
        ("answers", pa.list_(pa.string())),
        ("end_seconds", pa.float64()),
        ("start_seconds", pa.float64()),
        ("weight", pa.float32()),
    ]
)
_CSV = b"id,text,answer,image,answers,end_seconds,more\n" + (
    b'a,"What, ""then""?",yes,a.png,"[""yes"", ""no""]",2.5,x\nb,und,no,,,,\n'
)
_QUESTIONS = "v2_OpenEnded_mscoco_train2014_questions"
_ANNOTATIONS = "v2_mscoco_train2014_annotations"


def prompts(folder: Path) -> tuple[list[bytes], Callable[[bytes], None]]:
    """Return the target of prompt files, which are read, and then answer."""
    from . import prompt_target

    return prompt_target.prompts(folder)


def _json(content: object) -> bytes:
    return json.dumps(content).encode()


TARGETS: dict[str, Target] = {
    "shard-arrow": shards("arrow"),
    "shard-hdf5": shards("hdf5"),
    "manifest": manifests,
    "commit": commits,
    "dataset": datasets,
    "examples": examples("train"),
    "failures": examples("failures"),
    "jsonl": annotations("table", "t.jsonl", b"\n".join(map(_json, _ROWS))),
    "csv": annotations("table", "t.csv", _CSV),
    "parquet": annotations("table", "t.parquet", _parquet()),
    "mustard": annotations(
        "mustard", "sarcasm_data.json", _json({"1_9": _UTTERANCE, "2_3": _UTTERANCE})
    ),
    "vqav2-questions": annotations(
        "vqav2", f"{_QUESTIONS}.json", _json({"questions": [_QUESTION]}),
        **{_ANNOTATIONS: _json({"annotations": [_ANNOTATION]})},
    ),
    "vqav2-annotations": annotations(
        "vqav2", f"{_ANNOTATIONS}.json", _json({"annotations": [_ANNOTATION]}),
        **{_QUESTIONS: _json({"questions": [_QUESTION]})},
    ),
    "prompt": prompts,
}  # fmt: skip
