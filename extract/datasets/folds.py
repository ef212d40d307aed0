"""Stratified folds: a dataset's own protocol where it has no fixed splits."""

import random
from collections.abc import Sequence
from dataclasses import replace

from ...cache.example_table import Example


def with_folds(
    examples: Sequence[tuple[str, Example]], *, count: int, seed: int
) -> list[tuple[str, Example]]:
    """Return examples that name their fold, from 1, in their meta; answers are the classes."""
    answers = [example.answer or "" for _, example in examples]
    folds = stratified_folds(answers, count=count, seed=seed)
    return [
        (split, replace(example, meta={**example.meta, "fold": str(fold + 1)}))
        for (split, example), fold in zip(examples, folds, strict=True)
    ]


def stratified_folds(labels: Sequence[str], *, count: int, seed: int) -> list[int]:
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
    folds = {place: dealt % count for dealt, place in enumerate(places)}
    return [folds[place] for place in range(len(labels))]
