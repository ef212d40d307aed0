"""Which examples of a split a language model can be trained and scored on, and which are drawn."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence, Sized
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
from pyarrow.compute import is_in, sort_indices  # pyright: ignore[reportAttributeAccessIssue]

from ...cache.examples import DatasetInfo, ExampleTable
from ...errors import CacheError, PlmError, RunError, ShotsError
from ..plm.frozen import PLM
from ..record import RunRecord
from .selection import Selection

_ROWS_AT_ONCE = 16_384


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
    """Return the examples with features of every modality and an answer that `plm` can give."""
    complete, info, table = selection.complete(), selection.info, selection.table
    if not len(complete):
        raise CacheError(
            f"no example of {info.name}'s split {selection.split!r} has features of every modality "
            f"({', '.join(selection.features)}); choose some with --modalities; see: pfcli inspect"
        )
    if table.column("answer").null_count:
        raise CacheError(
            f"split {selection.split!r} of {info.name} has no answers to train on; "
            f"its splits are: {', '.join(info.splits)}"
        )
    possible = answerable(info, table.take(complete), plm)
    unanswerable = int(np.count_nonzero(~possible))
    return Candidates(complete[possible], len(table) - len(complete), unanswerable)


def answerable(info: DatasetInfo, table: ExampleTable, plm: PLM) -> np.ndarray:
    """Return for each example whether `plm` can give its answer, [n] bool.

    Labels are read by a verbaliser, so every language model can give them.
    """
    if info.task == "label":
        return np.ones(len(table), dtype=bool)
    (answers, of), (kinds, of_kind) = table.distinct("answer"), table.distinct("answer_type")
    pairs, of_pair = np.unique(of.astype(np.int64) * len(kinds) + of_kind, return_inverse=True)
    texts = [answers[pair // len(kinds)] or "" for pair in pairs]
    can = plm.answerable(texts, [kinds[pair % len(kinds)] for pair in pairs])
    possible = np.array(can, dtype=bool)[of_pair]
    if len(table) and not possible.any():
        raise PlmError(
            f"{plm.identity.get('source')} can give none of the {len(table)} answers of "
            f"{info.name}: a {plm.family} fills one mask with one known token, for yes/no and "
            "number questions; choose a BART or a T5 with --plm"
        )
    return possible


def examples_sha256(table: ExampleTable, modalities: Iterable[str]) -> str:
    """Return the sha256 of what is trained on: each example's id, text, answer and media."""
    named, digest = list(modalities), hashlib.sha256()
    for start in range(0, len(table), _ROWS_AT_ONCE):
        part = table.take(np.arange(start, min(start + _ROWS_AT_ONCE, len(table))))
        keys = [[key and key.hex() for key in part.keys(modality)] for modality in named]
        rows = zip(part.ids, part.texts, part.answers, *keys, strict=True)
        digest.update("".join(map(json.dumps, rows)).encode())
    return digest.hexdigest()


def require_same_examples(record: RunRecord, table: ExampleTable) -> None:
    """Return if a run's training examples are those that it was started on."""
    now = examples_sha256(table, record.features)
    if now != record.examples_sha256:
        raise RunError(
            f"run {record.name} was started on {record.train_examples} examples of "
            f"{record.dataset} (sha256 {record.examples_sha256[:12]}), and the cache now holds "
            f"{len(table)} others (sha256 {now[:12]}): extract the dataset as it was, or train "
            "anew without --resume"
        )


def places_of(ids: Sequence[str], table: ExampleTable, *, run: str) -> np.ndarray:
    """Return where the examples of a run's record are in its split, int64."""
    if not ids:
        return np.empty(0, dtype=np.int64)
    there = is_in(table.column("id"), pa.array(ids, pa.large_string())).to_numpy()
    found = np.flatnonzero(there)
    position = dict(zip(table.take(found).ids, found.tolist(), strict=True))
    missing = [name for name in ids if name not in position]
    if missing:
        raise RunError(
            f"run {run} drew the example {missing[0]!r}, and the cache does not hold it: extract "
            "the dataset as it was, or train the run anew"
        )
    return np.array([position[name] for name in ids], dtype=np.int64)


def draw_shots(
    ids: Sequence[str] | pa.ChunkedArray,
    labels: Sequence[str] | None,
    *,
    shots: int | None,
    sampling: Literal["stratified", "paper"] = "stratified",
    data_seed: int = 0,
) -> np.ndarray:
    """Return the indices of the examples to train on, int64, ascending.

    Args:
        ids: Stable ids of all candidates, in file order.
        labels: Their classes where the task has classes (shots are then spread evenly over them),
            else None (shots are drawn from all alike, as the paper does for VQAv2).
        shots: How many examples in all; None takes every one.
        sampling: "stratified" draws by `data_seed` over the sorted ids, so that neither file order
            nor other examples' order matters; "paper" takes the first of each class in file order
            (the released code: the same for every seed).
        data_seed: Seed of the draw; the initialisation's seed is another.

    Source: section 4.1 and the released code.
    """
    if shots is None:
        return np.arange(len(ids))
    if shots < 1 or shots > len(ids):
        raise ShotsError(
            f"--shots {shots}: there are {len(ids)} training examples to draw from; "
            f"choose 1 to {len(ids)}"
        )
    drawn: list[np.ndarray] = []
    by_id = _by_id(ids)
    for name, members, size in _classes(ids, labels, shots, "--shots"):
        if size > len(members):
            raise ShotsError(
                f"{size} shots of class {name!r} asked for, {len(members)} there; "
                "choose fewer --shots"
            )
        drawn.append(
            (members if sampling == "paper" else _shuffled(members, by_id, data_seed))[:size]
        )
    return np.sort(np.concatenate(drawn))


def draw_dev(
    ids: Sequence[str] | pa.ChunkedArray,
    labels: Sequence[str] | None,
    *,
    count: int,
    shots: np.ndarray | None,
    data_seed: int = 0,
) -> np.ndarray:
    """Return the indices of the examples that a run sets aside, int64, ascending.

    For one seed they are the same whatever the shots, but for those that the shots took. `shots`
    are the training examples, which are left alone; None trains on all that is not drawn. `ids`
    and `labels` are as `draw_shots` takes them, `count` is of all classes together.
    """
    free = np.ones(len(ids), dtype=bool)
    free[shots if shots is not None else []] = False
    taken = np.count_nonzero(~free)
    most = len(ids) - (1 if shots is None else taken)
    if count < 1 or count > most:
        raise ShotsError(
            f"--dev {count}: there are {len(ids)} training examples, and "
            f"{taken or 'at least one'} must be left to train on; choose 1 to {most}"
        )
    drawn: list[np.ndarray] = []
    by_id = _by_id(ids)
    for name, members, size in _classes(ids, labels, count, "--dev"):
        shuffled = _shuffled(members, by_id, [data_seed, 1])
        left = shuffled[free[shuffled]]
        if size > len(left):
            raise ShotsError(
                f"--dev {count}: {size} of class {name!r} asked for, {len(left)} left; choose fewer"
            )
        drawn.append(left[:size])
    return np.sort(np.concatenate(drawn))


def _classes(
    ids: Sized, labels: Sequence[str] | None, count: int, option: str
) -> Iterator[tuple[str | None, np.ndarray, int]]:
    """Yield each class, or None for all, with its examples and its even share of `count`."""
    if labels is None:
        yield None, np.arange(len(ids)), count
        return
    classes = sorted(set(labels))
    if count < len(classes):
        raise ShotsError(
            f"{option} {count} is fewer than the {len(classes)} classes ({', '.join(classes)}); "
            f"choose at least {len(classes)}"
        )
    base, rest = divmod(count, len(classes))
    for place, name in enumerate(classes):
        members = np.flatnonzero([label == name for label in labels])
        yield name, members, base + (place < rest)


def _by_id(ids: Sequence[str] | pa.ChunkedArray) -> np.ndarray:
    """Return the places of ids in the ids' order, [n] int64."""
    column = ids if isinstance(ids, pa.ChunkedArray) else pa.array(ids, pa.large_string())
    return sort_indices(column).to_numpy().astype(np.int64)


def _shuffled(members: np.ndarray, by_id: np.ndarray, seed: int | list[int]) -> np.ndarray:
    own = np.zeros(len(by_id), dtype=bool)
    own[members] = True
    return np.random.default_rng(seed).permutation(by_id[own[by_id]])
