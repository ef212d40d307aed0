"""Which training examples a few-shot run sees."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from ..errors import ShotsError

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
    sizes = _class_sizes(shots, classes)
    return np.sort(
        np.concatenate(
            [
                _draw_class(name, size, ids, labels, sampling, data_seed)
                for name, size in zip(classes, sizes, strict=True)
            ]
        )
    )


def _class_sizes(shots: int, classes: Sequence[str]) -> list[int]:
    if shots < len(classes):
        raise ShotsError(
            f"--shots {shots} is fewer than the {len(classes)} classes ({', '.join(classes)}); "
            f"choose at least {len(classes)}"
        )
    base, rest = divmod(shots, len(classes))
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
    by_id = np.array(sorted((int(member) for member in members), key=lambda one: str(ids[one])))
    return np.random.default_rng(data_seed).permutation(by_id)[:size]
