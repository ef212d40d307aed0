"""The paper's tables made of runs; the paper's own figures always under its own name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...tables import Cell, Spread, Table
from ..fusion.methods import METHODS
from .groups import Group, labels_of
from .paper import (
    METHODS_IN_ORDER,
    Figures,
    length_figures,
    main_figures,
    parameter_count,
    plm_figures,
    variant_figures,
)

MAIN = {"vqa": 2, "label": 4, "text": 2}
_PAPER_DATA = {"vqa": "VQAv2", "label": "MUStARD"}
_VARIANT_NAMES = {
    "position_middle": "prompt_position middle",
    "position_end": "prompt_position end",
    "prompt_encoder_linear": "prompt_encoder linear",
    "prompt_encoder_lstm": "prompt_encoder lstm",
    "visual_sequence": "image field sequence",
    "visual_average": "image field average",
}


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
    found = [_parameters(groups)] if groups else []
    for part in by_dataset(groups):
        found += [*_main(part), *_lengths(part), *_variants(part), *_plms(part)]
    return sorted(found, key=lambda one: one.number)


def by_dataset(groups: Sequence[Group]) -> list[list[Group]]:
    """Return the groups of each dataset and split; runs in folds are apart."""
    found: dict[tuple[str, str, bool], list[Group]] = {}
    for group in groups:
        first = group.first
        key = (first.record.dataset, first.split, group.in_folds)
        found.setdefault(key, []).append(group)
    return list(found.values())


def main_groups(groups: Sequence[Group]) -> list[Group]:
    """Return the groups of a main table, sorted: few shots first, methods in the paper's order.

    Where a method has runs at the usual prompt length, position and fields, its others are left
    to tables 5 and 6.
    """
    usual = {(group.method, group.shots) for group in groups if not group.changed()}
    kept = [
        group for group in groups if not group.changed() or (group.method, group.shots) not in usual
    ]
    return sorted(kept, key=lambda one: (shots_rank(one.shots), method_rank(one.method)))


def shots_rank(shots: str) -> float:
    """Return where a part stands: nothing trained, few shots, full data."""
    return {"none": -1.0, "full": float("inf")}.get(shots) or float(shots)


def method_rank(method: str) -> int:
    """Return where a method stands in the paper's tables."""
    known = method in METHODS_IN_ORDER
    return METHODS_IN_ORDER.index(method) if known else len(METHODS_IN_ORDER)


def _title(number: int, what: str, part: Sequence[Group]) -> str:
    return f"Table {number}. {what}: {part[0].first.record.dataset}, {_tested(part)}, in percent"


def _tested(part: Sequence[Group]) -> str:
    first = part[0].first
    if not part[0].in_folds:
        return f"{first.examples} examples of {first.split!r}"
    sizes = {one.record.settings.fold: one.examples for group in part for one in group.results}
    folds = f"{len(sizes)} fold{'s' if len(sizes) > 1 else ''}"
    return f"{sum(sizes.values())} examples of {first.split!r} in {folds}"


def _paper_title(number: int, what: str, *, mine: str) -> str:
    return f"The paper's table {number}. {what} (not {mine})"


def _like_vqav2(groups: Sequence[Group]) -> bool:
    """Return whether the paper's figures on VQAv2 are something to look at beside these."""
    return groups[0].first.record.task == "vqa" and not groups[0].in_folds


def _parameters(groups: Sequence[Group]) -> ReportTable:
    rows: dict[tuple[str, int, str, str], list[Cell]] = {}
    for group in sorted(main_groups(groups), key=lambda one: method_rank(one.method)):
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
    groups = main_groups(part)
    first = groups[0].first
    task = first.record.task
    columns = list(dict.fromkeys(name for group in groups for name in group.first.columns))
    paper = {} if groups[0].in_folds else main_figures(task)
    beside = any(group.papers_setting for group in groups)
    rows: list[list[Cell]] = []
    kinds: list[str] = []
    for group, label in zip(groups, labels_of(groups), strict=True):
        rows.append([group.shots, label, *map(group.spread, columns), len(group.results)])
        kinds.append("")
        theirs = paper.get(group.shots, {}).get(group.method)
        if theirs and group.papers_setting and not group.changed():
            rows.append(
                [
                    group.shots,
                    f"the paper's {group.method}",
                    *_cells(theirs, columns),
                    *_runs(theirs),
                ]
            )
            kinds.append("theirs")
    for name, values in groups[0].trivial.items():
        rows.append(["none", name, *(values.get(column) for column in columns), None])
        kinds.append("trivial")
    what = "Methods"
    table = Table(
        _title(MAIN[task], what, groups),
        ["shots", "method", *map(_in_words, columns), "runs"],
        rows,
    )
    found = [ReportTable(MAIN[task], table, kinds=tuple(kinds))]
    if paper and not beside:
        found.append(_paper_main(task, paper, mine=first.record.dataset))
    return found


def _paper_main(task: str, paper: Mapping[str, Mapping[str, Figures]], *, mine: str) -> ReportTable:
    columns = list(next(iter(next(iter(paper.values())).values())))
    rows: list[list[Cell]] = [
        [shots, method, *_cells(figures, columns), *_runs(figures)]
        for shots, methods in sorted(paper.items(), key=lambda one: shots_rank(one[0]))
        for method, figures in sorted(methods.items(), key=lambda one: method_rank(one[0]))
    ]
    title = _paper_title(MAIN[task], f"{_PAPER_DATA[task]}, in percent", mine=mine)
    table = Table(title, ["shots", "method", *columns, "runs"], rows, decimals=1)
    return ReportTable(MAIN[task], table, papers=True)


def _in_words(column: str) -> str:
    return column.replace("_", " ")


def _cells(figures: Figures, columns: Sequence[str]) -> list[Spread | None]:
    return [figures.get(column) for column in columns]


def _runs(figures: Figures) -> list[int]:
    return [next(iter(figures.values())).count]


def length_groups(part: Sequence[Group]) -> list[Group]:
    """Return the groups that have a like with another prompt length, and with nothing else."""
    families: dict[str, list[Group]] = {}
    for group in part:
        if METHODS[group.method].prompt and not set(group.changed()) - {"prompt_length"}:
            families.setdefault(group.key_without("prompt_length"), []).append(group)
    return [
        group
        for family in families.values()
        for group in family
        if len({one.first.record.settings.prompt_length for one in family}) > 1
    ]


def _lengths(part: Sequence[Group]) -> list[ReportTable]:
    groups = length_groups(part)
    if not groups:
        return []
    headline = groups[0].first.headline
    beside = groups[0].papers_setting
    paper = length_figures() if _like_vqav2(groups) else {}
    groups = sorted(
        groups,
        key=lambda one: (
            shots_rank(one.shots), method_rank(one.method), one.first.record.settings.prompt_length
        ),
    )  # fmt: skip
    rows: list[list[Cell]] = []
    for group, label in zip(groups, labels_of(groups, said=("prompt_length",)), strict=True):
        length = group.first.record.settings.prompt_length
        theirs = [paper.get(group.method, {}).get(length)] if beside else []
        row = [group.shots, label, length, group.spread(headline), len(group.results)]
        rows.append([*row, *theirs])
    names = ["shots", "method", "prompt length", headline, "runs", *["the paper's"] * beside]
    found = [ReportTable(5, Table(_title(5, "Prompt length", groups), names, rows))]
    if paper and not beside:
        found.append(_paper_lengths(paper, mine=groups[0].first.record.dataset))
    return found


def _paper_lengths(paper: Mapping[str, Mapping[int, float]], *, mine: str) -> ReportTable:
    lengths = list(next(iter(paper.values())))
    rows: list[list[Cell]] = [
        [length, *(values[length] for values in paper.values())] for length in lengths
    ]
    title = _paper_title(5, "Prompt length: VQAv2, overall accuracy", mine=mine)
    return ReportTable(5, Table(title, ["prompt length", *paper], rows, decimals=1), papers=True)


def _variants(part: Sequence[Group]) -> list[ReportTable]:
    names = {
        id(group): ", ".join(f"{name} {value}" for name, value in group.changed().items())
        for group in part
        if METHODS[group.method].prompt and "prompt_length" not in group.changed()
    }
    swept = {group.shots for group in part if names.get(id(group))}
    if not swept:
        return []
    groups = [group for group in part if id(group) in names and group.shots in swept]
    return _variant_tables(groups, names)


def _variant_tables(groups: Sequence[Group], names: Mapping[int, str]) -> list[ReportTable]:
    first = groups[0].first
    headline, beside = first.headline, groups[0].papers_setting
    theirs = {_VARIANT_NAMES.get(name, ""): row for name, row in variant_figures().items()}
    order = list(theirs)
    groups = sorted(
        groups,
        key=lambda one: (
            shots_rank(one.shots),
            order.index(names[id(one)]) if names[id(one)] in order else len(order),
            names[id(one)],
            method_rank(one.method),
        ),
    )
    rows: list[list[Cell]] = []
    varied = {name for group in groups for name in group.changed()}
    for group, label in zip(groups, labels_of(groups, said=varied), strict=True):
        name = names[id(group)]
        row = [group.shots, name or "baseline", label, group.spread(headline)]
        paper = [theirs.get(name, {}).get(group.method)] if beside else []
        rows.append([*row, len(group.results), *paper])
    columns = ["shots", "variant", "method", headline, "runs", *["the paper's"] * beside]
    found = [ReportTable(6, Table(_title(6, "Variants", groups), columns, rows))]
    if _like_vqav2(groups) and not beside:
        found.append(_paper_variants(mine=first.record.dataset))
    return found


def _paper_variants(*, mine: str) -> ReportTable:
    rows: list[list[Cell]] = [
        [_VARIANT_NAMES.get(name, name), *figures.values()]
        for name, figures in variant_figures().items()
    ]
    title = _paper_title(6, "Variants: VQAv2, overall accuracy", mine=mine)
    columns = ["variant", "promptfuse", "blindprompt"]
    return ReportTable(6, Table(title, columns, rows, decimals=1), papers=True)


def _plms(part: Sequence[Group]) -> list[ReportTable]:
    groups = [group for group in main_groups(part) if METHODS[group.method].prompt]
    if len({group.settings["plm"] for group in groups}) < 2:
        return []
    first = groups[0].first
    columns = list(dict.fromkeys(name for group in groups for name in group.first.columns))
    paper = plm_figures() if _like_vqav2(groups) else {}
    rows: list[list[Cell]] = []
    labels = labels_of(groups, said=("plm", "plm identity"))
    for group, label in zip(groups, labels, strict=True):
        record = group.first.record
        figures = map(group.spread, columns)
        rows.append([group.settings["plm"], group.shots, label, *figures, len(group.results)])
        theirs = paper.get(str(record.plm.get("family")), {}).get(group.method)
        if theirs and group.shots == "full" and group.papers_setting:
            papers = [f"the paper's {group.method}", *_cells(theirs, columns), *_runs(theirs)]
            rows.append([group.settings["plm"], "full", *papers])
    names = ["PLM", "shots", "method", *map(_in_words, columns), "runs"]
    found = [ReportTable(7, Table(_title(7, "Language models", groups), names, rows))]
    if paper and not any(group.papers_setting for group in groups):
        found.append(_paper_plms(paper, mine=first.record.dataset))
    return found


def _paper_plms(paper: Mapping[str, Mapping[str, Figures]], *, mine: str) -> ReportTable:
    columns = list(paper["bart"]["promptfuse"])
    rows: list[list[Cell]] = [
        [family, method, *_cells(figures, columns)]
        for family, methods in paper.items()
        for method, figures in methods.items()
    ]
    title = _paper_title(7, "Language models: VQAv2, in percent", mine=mine)
    return ReportTable(7, Table(title, ["PLM", "method", *columns], rows, decimals=1), papers=True)
