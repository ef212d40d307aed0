"""A small cache of random features, written through the cache's own API."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from promptfuse.cache.commits import Failure
from promptfuse.cache.examples import DatasetInfo, Example, write_examples
from promptfuse.cache.keys import BLANK_KEY
from promptfuse.cache.manifest import FieldSpec, Manifest
from promptfuse.cache.store import FeatureWriter

WIDTH = 16
TOKENS = 7  # of an image's sequence


def key_of(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()


def manifest(
    modality: str, *, encoder: str = "small", width: int = WIDTH, kept: tuple[str, ...] = ()
) -> Manifest:
    if modality == "image":
        fields = (
            FieldSpec("pooler", "float16", (width,)),
            FieldSpec("cls", "float16", (width,)),
            FieldSpec("sequence", "float16", (TOKENS, width)),
        )
    elif modality == "video":
        fields = (FieldSpec("pooler", "float16", (width,), ragged=True),)
    else:
        fields = (FieldSpec("last_hidden_state", "float16", (width,), ragged=True),)
    fields = tuple(spec for spec in fields if not kept or spec.name in kept)
    identity = {"id": encoder, "fields": [spec.name for spec in fields]}
    return Manifest(modality=modality, identity=identity, fields=fields)


def write_features(
    cache: Path,
    modality: str,
    names: list[str],
    *,
    failed: tuple[str, ...] = (),
    encoder: str = "small",
    width: int = WIDTH,
    steps: int | None = None,
    kept: tuple[str, ...] = (),
    file_format: str = "arrow",
) -> str:
    """Write one row a name and the blank one; return the fingerprint."""
    made = manifest(modality, encoder=encoder, width=width, kept=kept)
    random = np.random.default_rng(len(modality))
    with FeatureWriter(cache, made, format=file_format) as writer:
        for key in (BLANK_KEY, *(key_of(name) for name in names)):
            length = steps or int(random.integers(1, 6))
            row = {
                spec.name: random.normal(
                    size=(length, *spec.shape) if spec.ragged else spec.shape
                ).astype(np.float16)
                for spec in made.fields
            }
            writer.append(key, row)
        for name in failed:
            writer.fail(Failure(key_of(name), name, "damaged", f"{name}: damaged"))
    return made.fingerprint


def write_sarcasm(
    cache: Path, *, train: int = 12, test: int = 6, name: str = "jokes", folds: int = 0
) -> None:
    """Write a True/False dataset with video and sound, some of it in folds where there are any."""
    info = DatasetInfo(
        name=name,
        adapter="mustard",
        task="label",
        labels=("True", "False"),
        positive="True",
        modalities=("video", "audio"),
        splits={"train": train, "test": test},
    )
    splits = {
        split: [_utterance(f"{split}{index}", index, folds) for index in range(count)]
        for split, count in info.splits.items()
    }
    write_examples(cache, info, splits, [])


def _utterance(name: str, index: int, folds: int) -> Example:
    return Example(
        id=name,
        text=["nice day", "what colour", "how many"][index % 3],
        answer="True" if index % 2 else "False",
        media={"video": key_of(name), "audio": key_of(name)},
        meta={"fold": str(index // 2 % folds + 1)} if folds else {},
    )


def names_of(split: str, count: int) -> list[str]:
    return [f"{split}{index}" for index in range(count)]


def write_questions(cache: Path, *, train: int = 10, val: int = 4, name: str = "shapes") -> None:
    """Write a VQA dataset of two questions an image."""
    info = DatasetInfo(
        name=name,
        adapter="vqav2",
        task="vqa",
        modalities=("image",),
        splits={"train": train, "val": val},
    )
    splits = {
        split: [_question(split, index) for index in range(count)]
        for split, count in info.splits.items()
    }
    write_examples(cache, info, splits, [])


def _question(split: str, index: int) -> Example:
    answer = ["red", "two", "yes"][index % 3]
    return Example(
        id=str(index + (1000 if split == "val" else 0)),
        text=["what colour is the square", "how many", "is the square red"][index % 3],
        answer=answer,
        answers=(answer,) * 10,
        answer_type=["other", "number", "yes/no"][index % 3],
        media={"image": key_of(f"{split}{index // 2}")},
    )
