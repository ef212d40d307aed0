"""The paper's tables made of runs; the paper's own figures always under its own name."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ...tables import Cell, Spread, Table
from ..fusion.methods import METHODS
from .groups import Group, labels_of, shots_rank
from .paper import MAIN, method_rank, paper_table, papers_family, parameter_count

Keys = Mapping[str, Callable[[Group], Cell]]
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
        tables += [*_main(part), *_plms(part)]
        for alike in by_headline(part):
            tables += [*_lengths(alike), *_variants(alike)]
    return sorted(tables, key=lambda shown: shown.number)


def by_dataset(groups: Sequence[Group]) -> list[list[Group]]:
    """Return the groups of each dataset and split; runs in folds are apart."""
    parts: dict[tuple[str, str, bool], list[Group]] = {}
    for group in groups:
        key = (group.first.record.dataset, group.first.split, group.in_folds)
        parts.setdefault(key, []).append(group)
    return list(parts.values())


def by_headline(groups: Sequence[Group]) -> list[list[Group]]:
    """Return the groups that are compared by one figure: a whole split's, or a part's."""
    names = dict.fromkeys(group.first.headline for group in groups)
    return [[group for group in groups if group.first.headline == name] for name in names]


def main_groups(groups: Sequence[Group]) -> list[Group]:
    """Return the groups of a main table, sorted: few shots first, methods in the paper's order.

    Where a method has runs at the usual prompt length, position and fields, its others are left
    to tables 5 and 6, if they stand there.
    """
    usual = {(group.method, group.shots) for group in groups if not group.changed()}
    elsewhere = {id(group) for group in (*length_groups(groups), *_variant_groups(groups))}
    kept = [
        group
        for group in groups
        if not group.changed()
        or (group.method, group.shots) not in usual
        or id(group) not in elsewhere
    ]
    return sorted(kept, key=_place)


def _place(group: Group) -> tuple[float, int]:
    return shots_rank(group.shots), method_rank(group.method)


def papers_figures(number: int, group: Group) -> dict[str, Spread]:
    """Return what the paper has beside a group in its table; empty if anything of it differs."""
    changed, family = group.changed(), papers_family(group.first)
    length = group.first.record.settings.prompt_length
    table, full = paper_table(number), group.shots == "full"
    if not group.papers_setting or table.task != group.first.record.task:
        return {}
    if number == 7:
        return table.figures(family, group.method) if full and not changed else {}
    if family != "bart":
        return {}
    if number == 5:
        return table.figures(length, group.method) if full and not group.varied else {}
    if number == 6:
        return table.figures(group.varied or "baseline", group.method) if full else {}
    return {} if changed else table.figures(group.shots, group.method)


def _parameters(groups: Sequence[Group]) -> ReportTable:
    rows: dict[tuple[str, int, str, str], list[Cell]] = {}
    for group in sorted(main_groups(groups), key=lambda group: method_rank(group.method)):
        record = group.first.record
        plm = str(group.settings["plm"])
        modalities = " + ".join([*record.features, "text"])
        rows[group.method, record.trainable_parameters, plm, modalities] = [
            group.method,
            plm,
            int(record.plm.get("hidden_size") or 0) or None,
            modalities,
            record.trainable_parameters,
            parameter_count(group.method, record.features),
        ]
    columns = ["method", "PLM", "H", "input", "trained here", "the paper's, H = 768"]
    return ReportTable(1, Table("Table 1. Trainable parameters", columns, list(rows.values())))


def _main(part: Sequence[Group]) -> list[ReportTable]:
    number = MAIN[part[0].first.record.task]
    keys: Keys = {"shots": lambda group: group.shots}
    return _compared(number, "Methods", main_groups(part), keys, trivial=True)


def length_groups(part: Sequence[Group]) -> list[Group]:
    """Return the groups that have a like with another prompt length, and with nothing else."""
    families: dict[str, list[Group]] = {}
    for group in part:
        if METHODS[group.method].prompt and not group.varied:
            kept = {name: at for name, at in group.settings.items() if name != "prompt_length"}
            families.setdefault(json.dumps(kept, sort_keys=True), []).append(group)
    return [
        group
        for family in families.values()
        for group in family
        if len({like.first.record.settings.prompt_length for like in family}) > 1
    ]


def _lengths(part: Sequence[Group]) -> list[ReportTable]:
    def length(group: Group) -> int:
        return group.first.record.settings.prompt_length

    keys: Keys = {"shots": lambda group: group.shots, "prompt length": length}
    groups = sorted(length_groups(part), key=lambda group: (*_place(group), length(group)))
    return _compared(5, "Prompt length", groups, keys, said=("prompt_length",), headline=True)


def _variant_groups(part: Sequence[Group]) -> list[Group]:
    """Return the prompts of the usual length, where there is more than the baseline."""
    prompted = [
        group
        for group in part
        if METHODS[group.method].prompt and "prompt_length" not in group.changed()
    ]
    varied = {group.shots for group in prompted if group.varied}
    return [group for group in prompted if group.shots in varied]


def _variants(part: Sequence[Group]) -> list[ReportTable]:
    listed = [row[0] for row in paper_table(6).rows]

    def place(group: Group) -> tuple[float, int, str, int]:
        name = group.varied or "baseline"
        known = listed.index(name) if name in listed else len(listed)
        return shots_rank(group.shots), known, name, method_rank(group.method)

    groups = sorted(_variant_groups(part), key=place)
    keys: Keys = {
        "shots": lambda group: group.shots,
        "variant": lambda group: group.varied or "baseline",
    }
    said = {name for group in groups for name in group.changed()}
    return _compared(6, "Variants", groups, keys, said=said, headline=True)


def _plms(part: Sequence[Group]) -> list[ReportTable]:
    groups = [group for group in main_groups(part) if METHODS[group.method].prompt]
    if len({group.settings["plm"] for group in groups}) < 2:
        return []
    keys: Keys = {"PLM": lambda group: group.settings["plm"], "shots": lambda group: group.shots}
    return _compared(7, "Language models", groups, keys, said=("plm", "plm identity"))


def _compared(
    number: int,
    what: str,
    groups: Sequence[Group],
    keys: Keys,
    *,
    said: Sequence[str] | set[str] = (),
    headline: bool = False,
    trivial: bool = False,
) -> list[ReportTable]:
    """Return a table of groups, the paper's figures under each that is of its setting.

    Where none is, the paper's whole table follows under its own name.

    Args:
        number: The paper's table.
        what: The title's beginning.
        groups: In order; where there are none, there is no table.
        keys: The columns that stand before the method.
        said: Settings that the keys tell.
        headline: Whether the headline is the only figure.
        trivial: Whether the trivial answers' figures follow.
    """
    if not groups:
        return []
    columns = list(dict.fromkeys(name for group in groups for name in group.first.columns))
    columns = [groups[0].first.headline] if headline else columns
    rows: list[tuple[str, list[Cell]]] = []
    for group, label in zip(groups, labels_of(groups, said=said), strict=True):
        keyed = [key(group) for key in keys.values()]
        spreads = map(group.spread, columns)
        rows.append(("", [*keyed, label, *spreads, len(group.results)]))
        theirs = papers_figures(number, group)
        if theirs:
            figures = map(theirs.get, columns)
            runs = next(iter(theirs.values())).count
            rows.append(("theirs", [*keyed, f"the paper's {group.method}", *figures, runs]))
    beside = any(kind == "theirs" for kind, _ in rows)
    rows += [("trivial", row) for row in _trivial(groups, columns)] if trivial else []
    first = groups[0].first
    title = f"Table {number}. {what}: {first.record.dataset}, {_tested(groups)}, in percent"
    names = [*keys, "method", *(column.replace("_", " ") for column in columns), "runs"]
    own = Table(title, names, [row for _, row in rows])
    tables = [ReportTable(number, own, kinds=tuple(kind for kind, _ in rows))]
    papers = paper_table(number)
    if not beside and not groups[0].in_folds and papers.task == first.record.task:
        shown = papers.table(number, mine=first.record.dataset)
        tables.append(ReportTable(number, shown, papers=True))
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
    split = groups[0].first.split
    counts = " or ".join(map(str, sorted({group.examples for group in groups})))
    if not groups[0].in_folds:
        return f"{counts} examples of {split!r}"
    folds = max(group.folds for group in groups)
    return f"{counts} examples of {split!r} in {folds} fold{'s' if folds > 1 else ''}"
