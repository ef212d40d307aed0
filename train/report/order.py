"""The methods' order as measured, beside the paper's, in words."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from ...tables import Cell, Spread, Table
from .groups import Group, labels_of
from .paper import main_figures
from .paper_tables import MAIN, ReportTable, by_dataset, main_groups, shots_rank

_PAPER_HEADLINE = {"vqa": "overall", "label": "f1"}


def order_tables(groups: Sequence[Group]) -> list[ReportTable]:
    """Return for each dataset how its methods rank, and how the paper's do.

    Two neighbours nearer to each other than the larger of their deviations are joined by "≈".
    """
    found = []
    for part in by_dataset(groups):
        first = part[0].first
        paper = main_figures(first.record.task)
        if not paper:
            continue
        headline = _PAPER_HEADLINE[first.record.task]
        folds = part[0].in_folds  # another protocol than the paper's
        rows = _rows(main_groups(part), {} if folds else paper, first.headline, headline)
        title = (
            f"Order on {first.record.dataset}{' in folds' * folds} by {first.headline}, best first "
            "(≈: nearer than a standard deviation)"
        )
        columns = ["shots", "measured here", "in the paper", "pairs in the paper's order"]
        if rows:
            table = Table(title, columns, rows)
            found.append(ReportTable(MAIN[first.record.task], table))
    return found


def _rows(
    groups: Sequence[Group],
    paper: Mapping[str, Mapping[str, Mapping[str, Spread]]],
    headline: str,
    papers_headline: str,
) -> list[list[Cell]]:
    rows: list[list[Cell]] = []
    labels = labels_of(groups)  # where settings differ too, the words say so
    for shots in sorted({group.shots for group in groups} - {"none"}, key=shots_rank):
        mine = _headlines(groups, labels, shots, headline)
        if len(mine) < 2:
            continue
        theirs = {
            name: figures[papers_headline]
            for name, figures in paper.get(shots, {}).items()
            if name in mine
        }
        agreed = agreement(mine, theirs) if len(theirs) > 1 else None
        rows.append([shots, in_words(mine), in_words(theirs) if agreed else None, agreed])
    return rows


def _headlines(
    groups: Sequence[Group], labels: Sequence[str], shots: str, headline: str
) -> dict[str, Spread]:
    return {
        label: spread
        for group, label in zip(groups, labels, strict=True)
        if group.shots == shots and (spread := group.spread(headline)) is not None
    }


def in_words(figures: Mapping[str, Spread]) -> str:
    """Return names from the best to the worst, as `a > b ≈ c`."""
    ranked = sorted(figures.items(), key=lambda one: -one[1].mean)
    words = [ranked[0][0]]
    for (_, better), (name, worse) in itertools.pairwise(ranked):
        near = better.mean - worse.mean <= max(better.std or 0.0, worse.std or 0.0)
        words += ["≈" if near else ">", name]
    return " ".join(words)


def agreement(mine: Mapping[str, Spread], theirs: Mapping[str, Spread]) -> str:
    """Return how many pairs of names stand in the same order in both, as "2 of 3"."""
    pairs = list(itertools.combinations(theirs, 2))
    same = sum(
        (mine[one].mean - mine[other].mean) * (theirs[one].mean - theirs[other].mean) > 0
        for one, other in pairs
    )
    return f"{same} of {len(pairs)}"
