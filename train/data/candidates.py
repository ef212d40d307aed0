"""Which examples of a split a language model can be trained and scored on."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ...cache.examples import DatasetInfo, ExampleTable
from ...errors import CacheError, PlmError, RunError
from ..plm.frozen import PLM
from ..record import RunRecord
from .selection import Selection


@dataclass(frozen=True)
class Candidates:
    """The examples that can be trained on, and how many cannot.

    Attributes:
        indices: Their places in the split, int64, ascending.
        without_features: Examples that lack a medium's features.
        unanswerable: Examples that have features and an answer that the language model cannot give.
    """

    indices: np.ndarray
    without_features: int
    unanswerable: int


def candidates(selection: Selection, plm: PLM) -> Candidates:
    """Return the examples with features of every modality and an answer that `plm` can give.

    Raises:
        CacheError: If no example has features, or the split has no answers.
        PlmError: If `plm` can give none of the answers.
    """
    complete = selection.complete()
    _require_answers(selection, complete)
    possible = answerable(selection.info, selection.table.take(complete), plm)
    return Candidates(
        indices=complete[possible],
        without_features=len(selection.table) - len(complete),
        unanswerable=int(np.count_nonzero(~possible)),
    )


def answerable(info: DatasetInfo, table: ExampleTable, plm: PLM) -> np.ndarray:
    """Return for each example whether `plm` can give its answer, [n] bool.

    Labels are read by a verbaliser, so every language model can give them.

    Raises:
        PlmError: If it can give none.
    """
    if info.task == "label":
        return np.ones(len(table), dtype=bool)
    answers = [answer or "" for answer in table.answers]
    possible = np.array(plm.answerable(answers, table.answer_types), dtype=bool)
    if len(table) and not possible.any():
        raise PlmError(
            f"{plm.identity.get('source')} can give none of the {len(table)} answers of "
            f"{info.name}: a {plm.family} fills one mask with one known token, for yes/no and "
            "number questions; choose a BART or a T5 with --plm"
        )
    return possible


def examples_sha256(table: ExampleTable, modalities: Iterable[str]) -> str:
    """Return the sha256 of what is trained on: each example's id, text, answer and media."""
    keys = [[key and key.hex() for key in table.keys(modality)] for modality in modalities]
    digest = hashlib.sha256()
    for row in zip(table.ids, table.texts, table.answers, *keys, strict=True):
        digest.update(json.dumps(row).encode())
    return digest.hexdigest()


def require_same_examples(record: RunRecord, table: ExampleTable) -> None:
    """Return if a run's training examples are those that it was started on.

    Raises:
        RunError: If the dataset was extracted anew with others since.
    """
    now = examples_sha256(table, record.features)
    if now != record.examples_sha256:
        raise RunError(
            f"run {record.name} was started on {record.train_examples} examples of "
            f"{record.dataset} (sha256 {record.examples_sha256[:12]}), and the cache now holds "
            f"{len(table)} others (sha256 {now[:12]}): extract the dataset as it was, or train "
            "anew without --resume"
        )


def places_of(ids: Sequence[str], table: ExampleTable, *, run: str) -> np.ndarray:
    """Return where the examples of a run's record are in its split, int64.

    Raises:
        RunError: If one is not there.
    """
    position = {name: index for index, name in enumerate(table.ids)}
    missing = [name for name in ids if name not in position]
    if missing:
        raise RunError(
            f"run {run} drew the example {missing[0]!r}, and the cache does not hold it: extract "
            "the dataset as it was, or train the run anew"
        )
    return np.array([position[name] for name in ids], dtype=np.int64)


def _require_answers(selection: Selection, complete: np.ndarray) -> None:
    name, info = selection.split, selection.info
    if not len(complete):
        raise CacheError(
            f"no example of {info.name}'s split {name!r} has features of every modality "
            f"({', '.join(selection.features)}); choose some with --modalities; see: pfcli inspect"
        )
    if any(answer is None for answer in selection.table.answers):
        raise CacheError(
            f"split {name!r} of {info.name} has no answers to train on; "
            f"its splits are: {', '.join(info.splits)}"
        )
