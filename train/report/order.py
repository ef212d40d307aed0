"""The methods' order as measured, beside the paper's, in words."""

import itertools
from collections.abc import Mapping, Sequence

from ...tables import Cell, Spread, Table
from .groups import Group, labels_of, shots_rank
from .paper import MAIN, paper_table
from .paper_tables import ReportTable, by_dataset, by_headline, main_groups


def order_tables(groups: Sequence[Group]) -> list[ReportTable]:
    """Return for each dataset how its methods rank, and how the paper's do.

    Two neighbours nearer to each other than the larger of their deviations are joined by "≈".
    """
    tables = []
    for part in (alike for each in by_dataset(groups) for alike in by_headline(each)):
        first, folds = part[0].first, part[0].in_folds
        number = MAIN[first.record.task]
        rows = _rows(main_groups(part), number)
        if not rows or paper_table(number).task != first.record.task:
            continue
        title = (
            f"Order on {first.record.dataset}{' in folds' * folds} by {first.headline}, best first "
            "(≈: nearer than a standard deviation)"
        )
        columns = ["shots", "measured here", "in the paper", "pairs in the paper's order"]
        tables.append(ReportTable(number, Table(title, columns, rows)))
    return tables


def _rows(groups: Sequence[Group], number: int) -> list[list[Cell]]:
    paper = paper_table(number)
    labels = labels_of(groups)  # where settings differ too, the words say so
    rows: list[list[Cell]] = []
    for shots in sorted({group.shots for group in groups} - {"none"}, key=shots_rank):
        mine = {
            label: spread
            for group, label in zip(groups, labels, strict=True)
            if group.shots == shots and (spread := group.spread(group.first.headline)) is not None
        }
        theirs = {
            name: figures[paper.columns[-1]]
            for name in mine
            # folds are another protocol than the paper's
            if (figures := paper.figures(shots, name)) and not groups[0].in_folds
        }
        if len(mine) < 2:
            continue
        agreed = agreement(mine, theirs) if len(theirs) > 1 else None
        rows.append([shots, in_words(mine), in_words(theirs) if agreed else None, agreed])
    return rows


def in_words(figures: Mapping[str, Spread]) -> str:
    """Return names from the best to the worst, as `a > b ≈ c`."""
    ranked = sorted(figures.items(), key=lambda named: -named[1].mean)
    words = [ranked[0][0]]
    for (_, better), (name, worse) in itertools.pairwise(ranked):
        near = better.mean - worse.mean <= max(better.std or 0.0, worse.std or 0.0)
        words += ["≈" if near else ">", name]
    return " ".join(words)


def agreement(mine: Mapping[str, Spread], theirs: Mapping[str, Spread]) -> str:
    """Return how many pairs of names stand in the same order in both, as "2 of 3"."""
    pairs = list(itertools.combinations(theirs, 2))
    same = sum(
        (mine[name].mean - mine[other].mean) * (theirs[name].mean - theirs[other].mean) > 0
        for name, other in pairs
    )
    return f"{same} of {len(pairs)}"
