"""MUStARD: utterances from television, sarcastic or not, each with its clip.

`sarcasm_data.json` is `{id: {"utterance", "speaker", "context", "context_speakers", "show",
"sarcasm"}}`; the clip of an utterance is `utterances_final/{id}.mp4`, its video and its sound.
"""

import random
from collections.abc import Sequence
from pathlib import Path

from ...cache.examples import DatasetInfo, Example
from ...errors import AnnotationInvalid
from .annotations import RawDataset, Record, as_record, read_annotations

FOLDS = 5
_FILE = "sarcasm_data.json"
_TEST_SHOW = "FRIENDS"


def read(root: Path, *, name: str | None = None, seed: int = 0) -> RawDataset:
    """Return MUStARD's utterances in `train` and `test`, each with its fold in its meta.

    The splits are the paper's: `test` is the show FRIENDS, `train` the others (the dataset calls
    this speaker-independent, the paper speaker-dependent). The dataset's speaker-dependent
    protocol is five stratified folds, 1 to 5, drawn with `seed`; each example names its own.
    """
    records = _records(root / _FILE)
    answers = [str(record.get("sarcasm", bool)) for record in records.values()]
    folds = stratified_folds(answers, seed=seed)
    splits: dict[str, list[Example]] = {"train": [], "test": []}
    for (id_, record), fold in zip(records.items(), folds, strict=True):
        split = "test" if record.get("show", str) == _TEST_SHOW else "train"
        splits[split].append(_example(id_, record, fold=fold + 1))
    labels, modalities = ("True", "False"), ("video", "audio")
    info = DatasetInfo(name or "mustard", "mustard", "label", labels, "True", modalities)
    return RawDataset(info, {split: rows for split, rows in splits.items() if rows}, root)


def files(root: Path, **_: object) -> list[Path]:
    """Return the annotation file."""
    return [root / _FILE]


def stratified_folds(labels: Sequence[str], *, seed: int) -> list[int]:
    """Return the fold of each label, from 0: every fold has its share of each class, to within one.

    Each class is shuffled from its order in the file and dealt out in turn; the next class goes
    on where the last one stopped, so that fold sizes differ by one at most.
    """
    generator = random.Random(seed)  # noqa: S311 (a draw of folds, not a secret)
    places: list[int] = []
    for label in sorted(set(labels)):
        same = [place for place, other in enumerate(labels) if other == label]
        generator.shuffle(same)
        places += same
    folds = {place: dealt % FOLDS for dealt, place in enumerate(places)}
    return [folds[place] for place in range(len(labels))]


def _records(path: Path) -> dict[str, Record]:
    content = read_annotations(path)
    if not content:
        raise AnnotationInvalid(f"{path}: holds no utterance")
    return {id_: as_record(value, f"{path}: id {id_!r}") for id_, value in content.items()}


def _example(id_: str, record: Record, *, fold: int) -> Example:
    clip = f"utterances_final/{id_}.mp4"
    answer = str(record.get("sarcasm", bool))
    return Example(
        id=id_,
        text=record.get("utterance", str),
        answer=answer,
        answers=(answer,),
        paths={"video": clip, "audio": clip},
        meta={
            "speaker": record.get("speaker", str),
            "show": record.get("show", str),
            "context": _lines(record, "context"),
            "context_speakers": _lines(record, "context_speakers"),
            "fold": str(fold),
        },
    )


def _lines(record: Record, name: str) -> str:
    values = record.get(name, list)
    for value in values:
        if not isinstance(value, str):
            raise record.invalid(f"field {name!r} must be a list of texts; it holds {value!r}")
    return "\n".join(values)
