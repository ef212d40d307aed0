"""Which training examples a few-shot run sees, and which are set aside to choose settings on."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from ...errors import ShotsError

ShotSampling = Literal["stratified", "paper"]


def draw_shots(
    ids: Sequence[str],
    labels: Sequence[str] | None,
    *,
    shots: int | None,
    sampling: ShotSampling = "stratified",
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

    Raises:
        ShotsError: If the data (or one class) has fewer examples than asked for.

    Source: section 4.1 and the released code.
    """
    if shots is None:
        return np.arange(len(ids))
    if shots < 1 or shots > len(ids):
        raise ShotsError(
            f"--shots {shots}: there are {len(ids)} training examples to draw from; "
            f"choose 1 to {len(ids)}"
        )
    if labels is None:
        return np.sort(_draw(np.arange(len(ids)), ids, shots, sampling, data_seed))
    classes = sorted(set(labels))
    sizes = _class_sizes(shots, classes, "--shots")
    return np.sort(
        np.concatenate(
            [
                _draw_class(name, size, ids, labels, sampling, data_seed)
                for name, size in zip(classes, sizes, strict=True)
            ]
        )
    )


def draw_dev(
    ids: Sequence[str],
    labels: Sequence[str] | None,
    *,
    count: int,
    shots: np.ndarray | None,
    data_seed: int = 0,
) -> np.ndarray:
    """Return the indices of the examples that a run sets aside, int64, ascending.

    For one seed they are the same whatever the shots, but for those that the shots took.

    Args:
        ids: Stable ids of all candidates, in file order.
        labels: Their classes where the task has classes, over which the draw is spread evenly.
        count: How many examples in all.
        shots: The training examples, which are left alone; None trains on all that is not drawn.
        data_seed: Seed of the draw.

    Raises:
        ShotsError: If too few examples (or too few of one class) are left.
    """
    taken = set() if shots is None else set(shots.tolist())
    most = len(ids) - (1 if shots is None else len(taken))
    if count < 1 or count > most:
        raise ShotsError(
            f"--dev {count}: there are {len(ids)} training examples, and "
            f"{len(taken) or 'at least one'} must be left to train on; choose 1 to {most}"
        )
    classes = [None] if labels is None else sorted(set(labels))
    sizes = [count] if labels is None else _class_sizes(count, sorted(set(labels)), "--dev")
    drawn: list[int] = []
    for name, size in zip(classes, sizes, strict=True):
        members = [index for index in range(len(ids)) if labels is None or labels[index] == name]
        left = [index for index in _shuffled(members, ids, [data_seed, 1]) if index not in taken]
        if size > len(left):
            raise ShotsError(
                f"--dev {count}: {size} of class {name!r} asked for, {len(left)} left; choose fewer"
            )
        drawn += left[:size]
    return np.sort(np.array(drawn, dtype=np.int64))


def _class_sizes(count: int, classes: Sequence[str], option: str) -> list[int]:
    if count < len(classes):
        raise ShotsError(
            f"{option} {count} is fewer than the {len(classes)} classes ({', '.join(classes)}); "
            f"choose at least {len(classes)}"
        )
    base, rest = divmod(count, len(classes))
    return [base + (index < rest) for index in range(len(classes))]


def _draw_class(
    name: str,
    size: int,
    ids: Sequence[str],
    labels: Sequence[str],
    sampling: ShotSampling,
    data_seed: int,
) -> np.ndarray:
    members = np.array([index for index, label in enumerate(labels) if label == name])
    if size > len(members):
        raise ShotsError(
            f"{size} shots of class {name!r} asked for, {len(members)} there; choose fewer --shots"
        )
    return _draw(members, ids, size, sampling, data_seed)


def _draw(
    members: np.ndarray, ids: Sequence[str], size: int, sampling: ShotSampling, data_seed: int
) -> np.ndarray:
    if sampling == "paper":
        return members[:size]
    return np.array(_shuffled(members.tolist(), ids, data_seed)[:size], dtype=np.int64)


def _shuffled(members: Sequence[int], ids: Sequence[str], seed: int | list[int]) -> list[int]:
    by_id = np.array(sorted(members, key=lambda one: str(ids[one])), dtype=np.int64)
    return np.random.default_rng(seed).permutation(by_id).tolist()
