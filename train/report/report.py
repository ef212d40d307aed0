"""A report: evaluated runs as the paper's tables, in words, as pictures, and as one page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from ...errors import ConfigError, RunError, UnknownName
from ...tables import Table
from ..explain.explanation import explained_examples
from ..runs.folders import run_folders
from ..sweep.grid import cell_label
from ..sweep.record import SweepRecord, find_sweep
from .collect import read_results
from .explanation_page import ABOUT, read_shown
from .groups import Group, group_runs
from .pages import render
from .paper import DOCUMENTED, is_papers_setting
from .paper_tables import ReportTable, all_tables, order_tables
from .settings import NUMBERS

if TYPE_CHECKING:
    from .predictions import Thumbnail

_MAX_EXPLAINED = 12
_PAPER_WIDTH = 768

FORMATS: dict[str, Callable[[Table], str]] = {
    "text": Table.text,
    "markdown": Table.markdown,
    "latex": Table.latex,
    "csv": lambda table: f"# {table.title}\n{table.csv()}",
}
"""How one table is written; the fifth format, "html", is `Report.page`."""


@dataclass(frozen=True)
class Report:
    """Evaluated runs, compared.

    Attributes:
        source: Where the runs are from, in words.
        groups: The runs, grouped over their seeds.
        tables: The paper's tables that they fill.
        order: How the methods rank.
        failed: The cells of a sweep that failed, or None where none did.
        notes: What a reader has to know.
    """

    source: str
    groups: Sequence[Group]
    tables: Sequence[ReportTable]
    order: Sequence[ReportTable]
    failed: Table | None
    notes: Sequence[str]

    def text(self, format: str = "text") -> str:  # noqa: A002
        """Return the tables one after the other in one of `FORMATS`; text and Markdown have notes.

        Raises:
            UnknownName: If there is no such format.
        """
        if format not in FORMATS:
            raise UnknownName("format", format, list(FORMATS))
        tables = [*(shown.table for shown in (*self.tables, *self.order)), self.failed]
        written = [FORMATS[format](table) for table in tables if table is not None]
        notes = self.notes if format in ("text", "markdown") else ()
        return "\n\n".join([*written, *notes]) + "\n"

    def page(
        self, cache_root: PurePath, *, thumbnail: Thumbnail | None = None, max_images: int = 60
    ) -> str:
        """Return one self-contained HTML page: tables, curves, masks, maps and answers.

        The examples' texts are read of the cache; `thumbnail` makes a small picture of a medium.

        Raises:
            ConfigError: If `max_images` is below 0.
        """
        # these bring torch, which tables do without
        from .pictures import learning_curves, length_plots, mask_pictures
        from .predictions import browse

        if max_images < 0:
            raise ConfigError(f"max_images is {max_images}; it must be at least 0")
        browsed, missing = browse(
            self.groups, cache_root, thumbnail=thumbnail, max_images=max_images
        )
        folders = [result.folder for group in self.groups for result in group.results]
        datasets = dict.fromkeys(group.first.record.dataset for group in self.groups)
        explained = explained_examples(folders)
        left = len(explained) - _MAX_EXPLAINED
        unshown = [f"{left} further explained examples are not shown"] if left > 0 else []
        return render(
            "report.html.j2",
            subtitle=f"{', '.join(datasets)} · {len(folders)} runs of {self.source}",
            notes=[*self.notes, *missing, *unshown],
            tables=self.tables,
            order=[shown.table for shown in self.order],
            failed=self.failed,
            curves=learning_curves(self.groups),
            lengths=length_plots(self.groups),
            masks=mask_pictures(),
            explained=[read_shown(folder) for folder in explained[:_MAX_EXPLAINED]],
            explained_about=ABOUT,
            browsed=browsed,
        )


def make_report(
    runs_root: Path,
    *,
    sweeps_root: Path | None = None,
    sweep: str | None = None,
    split: str | None = None,
    table: int | None = None,
) -> Report:
    """Return the report of a sweep's runs, or of all; see `library.report`."""
    if table not in (None, *NUMBERS):
        known = ", ".join(map(str, NUMBERS))
        raise ConfigError(f"table is {table}; the tables that runs fill are: {known}")
    record = None if sweep is None or sweeps_root is None else find_sweep(sweeps_root, sweep)
    folders = run_folders(runs_root)
    notes: list[str] = []
    if record is not None:
        names = {name for cell in record.cells for name in cell.runs}
        folders = [folder for folder in folders if folder.name in names]
        notes += record.notes
    if not folders:
        raise RunError(f"{runs_root} holds no run to report; train some first: pfcli sweep")
    results, unevaluated = read_results(folders, split=split)
    if not results:
        on, option = (f" on {split!r}", f" --split {split}") if split else ("", "")
        raise RunError(
            f"none of the {len(folders)} runs in {runs_root} is evaluated{on}; "
            f"first: pfcli eval {folders[-1]}{option}"
        )
    if unevaluated:
        notes.append(f"not evaluated and so not shown: {', '.join(unevaluated)}")
    groups = group_runs(results)
    tables = all_tables(groups)
    wanted = [shown for shown in tables if table in (None, shown.number)]
    if not wanted:
        there = ", ".join(sorted({str(shown.number) for shown in tables}))
        raise RunError(f"these runs do not fill table {table}; they fill: {there}")
    return Report(
        source=f"sweep {sweep}" if sweep else f"{runs_root}",
        groups=groups,
        tables=wanted,
        order=[shown for shown in order_tables(groups) if table in (None, shown.number)],
        failed=None if record is None else failed_table(record),
        notes=[*notes, *_small_models(groups), *_papers_choices(groups)],
    )


def failed_table(sweep: SweepRecord) -> Table | None:
    """Return the cells of a sweep that failed, with their errors; None where none did."""
    rows = [[cell_label(cell.settings), cell.error] for cell in sweep.failed]
    return Table(f"Failed in {sweep.name}", ["cell", "error"], rows) if rows else None


def _small_models(groups: Sequence[Group]) -> list[str]:
    widths = {int(group.first.record.plm.get("hidden_size") or _PAPER_WIDTH) for group in groups}
    return [
        f"the language model is small (H = {width}, the paper's {_PAPER_WIDTH}): this shows the "
        "method at work, it does not replicate the paper"
        for width in sorted(widths)
        if width < _PAPER_WIDTH
    ]


def _papers_choices(groups: Sequence[Group]) -> list[str]:
    """Return what was chosen where the paper's text and code differ, beside whose figures."""
    choices = dict.fromkeys(
        f"{name} {group.settings[name]} (the paper's {whose[group.settings[name]]})"
        for group in groups
        if is_papers_setting(group.first)
        for name, whose in DOCUMENTED.items()
        if (group.shots not in ("none", "full") if name == "shot_sampling" else group.prompted)
    )
    return [f"the paper's figures stand beside runs with {', '.join(choices)}"] if choices else []
