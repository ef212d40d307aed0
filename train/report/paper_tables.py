"""The paper's tables made of runs; the paper's own figures always under its own name."""

import itertools
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from ...tables import Cell, Spread, Table
from .groups import Group, grouped, labels_of, shots_rank
from .paper import (
    MAIN,
    is_papers_setting,
    method_rank,
    paper_results,
    paper_table,
    papers_family,
)

_TITLES = {2: "Methods", 4: "Methods", 5: "Prompt length", 6: "Variants", 7: "Language models"}
_KEYS: dict[str, Callable[[Group], Cell]] = {
    "shots": lambda group: group.shots,
    "prompt length": lambda group: group.first.settings.prompt_length,
    "variant": lambda group: group.varied or "baseline",
    "PLM": lambda group: group.settings["plm"],
}
"""The columns that tell a table's rows apart, beside the method."""


@dataclass(frozen=True)
class ReportTable:
    """One table of a report.

    Attributes:
        number: The paper's table that it corresponds to, or 0 for none.
        table: Its content.
        papers: Whether all figures in it are the paper's.
        kinds: What each row is, if not a run's: "trivial", or "theirs" for the paper's.
    """

    number: int
    table: Table
    papers: bool = False
    kinds: tuple[str, ...] = ()


def all_tables(groups: Sequence[Group]) -> list[ReportTable]:
    """Return every table that the runs can fill, a dataset and split at a time."""
    tables = [_parameters(groups)] if groups else []
    for part in by_dataset(groups):
        methods = main_groups(part)
        tables += _compared(MAIN[part[0].first.record.task], methods, "shots")
        prompts = [group for group in methods if group.prompted]
        if len({group.settings["plm"] for group in prompts}) > 1:
            tables += _compared(7, prompts, "PLM", "shots", said=("plm", "plm identity"))
    for part in by_headline(groups):
        lengths = sorted(length_groups(part), key=_place)
        tables += _compared(5, lengths, "shots", "prompt length", said=("prompt_length",))
        variants = sorted(_variant_groups(part), key=_place)
        said = {name for group in variants for name in group.changed}
        tables += _compared(6, variants, "shots", "variant", said=said)
    return sorted(tables, key=lambda shown: shown.number)


def by_dataset(groups: Sequence[Group]) -> list[list[Group]]:
    """Return the groups of each dataset and split; runs in folds are apart."""
    return grouped(
        groups, lambda group: (group.first.record.dataset, group.first.split, group.in_folds)
    )


def by_headline(groups: Sequence[Group]) -> list[list[Group]]:
    """Return the same, apart where they are compared by another figure, such as a part's."""
    return [
        alike
        for part in by_dataset(groups)
        for alike in grouped(part, lambda group: group.first.headline)
    ]


def main_groups(groups: Sequence[Group]) -> list[Group]:
    """Return the groups of a main table, sorted: few shots first, methods in the paper's order.

    Where a method has runs at the usual prompt length, position and fields, its others are left
    to tables 5 and 6, if they stand there.
    """
    usual = {(group.method, group.shots) for group in groups if not group.changed}
    elsewhere = {id(group) for group in (*length_groups(groups), *_variant_groups(groups))}
    kept = [
        group
        for group in groups
        if not group.changed
        or (group.method, group.shots) not in usual
        or id(group) not in elsewhere
    ]
    return sorted(kept, key=lambda group: (shots_rank(group.shots), method_rank(group.method)))


def length_groups(part: Sequence[Group]) -> list[Group]:
    """Return the groups that have a like with another prompt length, and with nothing else."""

    def all_else(group: Group) -> str:
        kept = {name: at for name, at in group.settings.items() if name != "prompt_length"}
        return json.dumps(kept, sort_keys=True)

    plain = [group for group in part if group.prompted and not group.varied]
    return [
        group
        for family in grouped(plain, all_else)
        if len({like.first.settings.prompt_length for like in family}) > 1
        for group in family
    ]


def _variant_groups(part: Sequence[Group]) -> list[Group]:
    """Return the prompts of the usual length, where there is more than the baseline."""
    prompts = [group for group in part if group.prompted and "prompt_length" not in group.changed]
    varied = {group.shots for group in prompts if group.varied}
    return [group for group in prompts if group.shots in varied]


def _place(group: Group) -> tuple[float, int, str, int, int]:
    """Return where a prompt stands in tables 5 and 6."""
    listed, variant = [row[0] for row in paper_table(6).rows], group.varied or "baseline"
    known = listed.index(variant) if variant in listed else len(listed)
    length = group.first.settings.prompt_length
    return shots_rank(group.shots), known, variant, method_rank(group.method), length


def papers_figures(number: int, group: Group) -> dict[str, Spread]:
    """Return what the paper has beside a group in its table; empty if anything of it differs."""
    first, table, family = group.first, paper_table(number), papers_family(group.first)
    if not is_papers_setting(first) or table.task != first.record.task:
        return {}
    full, usual = group.shots == "full", not group.changed
    key, same = {
        5: (first.settings.prompt_length, full and not group.varied),
        6: (group.varied or "baseline", full),
        7: (family, full and usual),
    }.get(number, (group.shots, usual))
    return table.figures(key, group.method) if same and (number == 7 or family == "bart") else {}


def _parameters(groups: Sequence[Group]) -> ReportTable:
    papers = paper_results()["trainable_parameters"]
    rows: dict[tuple[Cell, ...], None] = {}
    for group in sorted(main_groups(groups), key=lambda group: method_rank(group.method)):
        record, method, inputs = group.first.record, group.method, group.settings["inputs"]
        hidden_size = int(record.plm.get("hidden_size") or 0) or None
        theirs = papers.get(f"{method}, {inputs}") or papers.get(method)
        trained = record.trainable_parameters
        rows[method, group.settings["plm"], hidden_size, inputs, trained, theirs] = None
    columns = ["method", "PLM", "H", "input", "trained here", "the paper's, H = 768"]
    return ReportTable(
        1, Table("Table 1. Trainable parameters", columns, [list(row) for row in rows])
    )


def _compared(
    number: int, groups: Sequence[Group], *keys: str, said: Collection[str] = ()
) -> list[ReportTable]:
    """Return a table of groups, the paper's figures under each that is of its setting.

    Where none is, the paper's whole table follows under its own name. The main tables have all
    figures and the trivial answers', tables 5 and 6 the headline alone. What is `said` is told by
    the keys.
    """
    if not groups:
        return []
    first, papers = groups[0].first, paper_table(number)
    columns = list(dict.fromkeys(name for group in groups for name in group.first.columns))
    columns = [first.headline] if number in (5, 6) else columns
    rows: list[tuple[str, list[Cell]]] = []
    for group, label in zip(groups, labels_of(groups, said=said), strict=True):
        keyed = [_KEYS[key](group) for key in keys]
        rows.append(("", [*keyed, label, *map(group.spread, columns), len(group.results)]))
        if theirs := papers_figures(number, group):
            figures = map(theirs.get, columns)
            rows.append(("theirs", [*keyed, f"the paper's {group.method}", *figures, papers.runs]))
    beside = any(kind == "theirs" for kind, _ in rows)
    if number in MAIN.values():
        rows += [("trivial", row) for row in _trivial(groups, columns)]
    dataset = first.record.dataset
    title = f"Table {number}. {_TITLES[number]}: {dataset}, {_tested(groups)}, in percent"
    names = [*keys, "method", *(column.replace("_", " ") for column in columns), "runs"]
    own = Table(title, names, [row for _, row in rows])
    tables = [ReportTable(number, own, kinds=tuple(kind for kind, _ in rows))]
    if not beside and not groups[0].in_folds and papers.task == first.record.task:
        tables.append(ReportTable(number, papers.table(mine=dataset), papers=True))
    return tables


def _trivial(groups: Sequence[Group], columns: Sequence[str]) -> list[list[Cell]]:
    """Return a row a trivial answer, and one more where groups were scored on other examples."""
    rows: dict[tuple[str, str], list[Cell]] = {}
    for group in groups:
        for name, values in group.trivial.items():
            cells = [values.get(column) for column in columns]
            again = any(known == name for known, _ in rows)
            of = f", {_tested([group])}" if again else ""
            rows.setdefault((name, repr(cells)), ["none", f"{name}{of}", *cells, None])
    return list(rows.values())


def _tested(groups: Sequence[Group]) -> str:
    """Return how many examples were scored, of what."""
    counts = " or ".join(map(str, sorted({group.examples for group in groups})))
    tested = f"{counts} examples of {groups[0].first.split!r}"
    if not groups[0].in_folds:
        return tested
    folds = max(len(group.scored) for group in groups)
    return f"{tested} in {folds} fold{'s' if folds > 1 else ''}"


def order_tables(groups: Sequence[Group]) -> list[ReportTable]:
    """Return for each dataset how its methods rank, and how the paper's do.

    Two neighbours nearer to each other than the larger of their deviations are joined by "≈".
    """
    tables = []
    for part in by_headline(groups):
        first, folds = part[0].first, part[0].in_folds
        number = MAIN[first.record.task]
        rows = _order(main_groups(part), number)
        if not rows or paper_table(number).task != first.record.task:
            continue
        title = (
            f"Order on {first.record.dataset}{' in folds' * folds} by {first.headline}, best first "
            "(≈: nearer than a standard deviation)"
        )
        columns = ["shots", "measured here", "in the paper", "pairs in the paper's order"]
        tables.append(ReportTable(number, Table(title, columns, rows)))
    return tables


def _order(groups: Sequence[Group], number: int) -> list[list[Cell]]:
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
        if len(mine) > 1:
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
