"""`pfcli report`: the paper's tables made of runs, printed, written, or as one HTML page."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..cache.atomic import make_folder, write_atomic
from ..config import Workspace, shipped
from ..errors import ConfigError, MediumError, RunError
from ..tables import Table
from ..train.report.collect import Group, group_runs, read_results
from ..train.report.explanation import PICTURE, explained_examples, read_explanation
from ..train.report.explanation_page import explanation_cards
from ..train.report.order import order_tables
from ..train.report.page import PageContent, html_page
from ..train.report.paper_tables import NUMBERS, ReportTable, all_tables
from ..train.report.pictures import learning_curves, length_plots, mask_pictures
from ..train.report.predictions import browse
from ..train.report.render import render
from ..train.runs import run_folders
from ..train.sweep.grid import cell_label
from ..train.sweep.record import SweepRecord, find_sweep

_THUMBNAIL_PIXELS = 144
_JPEG_QUALITY = 80
_MAX_EXPLAINED = 12
_DEFAULT_PAGE = "report.html"


@dataclass(frozen=True)
class ReportRequest:
    """What a report shows.

    Attributes:
        sweep: The sweep to report; None takes every run.
        split: The split whose figures are shown; None takes each run's test split.
        format: "html", or a key of `train.report.render.FORMATS`.
        table: One of the paper's tables; None shows all that the runs can fill.
        output: The file to write; None prints (a page goes beside the runs' folder).
        max_images: Pictures in a page.
    """

    sweep: str | None = None
    format: str = "text"
    table: int | None = None
    output: str | None = None
    max_images: int = 60
    split: str | None = None

    def __post_init__(self) -> None:
        if self.table is not None and self.table not in NUMBERS:
            known = ", ".join(map(str, NUMBERS))
            raise ConfigError(f"table is {self.table}; the tables that runs fill are: {known}")
        if self.max_images < 0:
            raise ConfigError(f"max_images is {self.max_images}; it must be at least 0")


def run_report(workspace: Workspace, request: ReportRequest) -> None:
    """Print or write the report that is asked for."""
    sweep = None if request.sweep is None else find_sweep(Path(workspace.sweeps), request.sweep)
    groups, notes = _groups(workspace, sweep, request.split)
    found = all_tables(groups)
    chosen = [one for one in found if request.table in (None, one.number)]
    if not chosen:
        there = ", ".join(sorted({str(one.number) for one in found}))
        raise RunError(f"these runs do not fill table {request.table}; they fill: {there}")
    order = [one.table for one in order_tables(groups) if request.table in (None, one.number)]
    failed = None if sweep is None else failed_table(sweep)
    if request.format == "html":
        written = _page(workspace, request, groups, notes, chosen, order, failed)
    else:
        tables = [*(one.table for one in chosen), *order, *([] if failed is None else [failed])]
        written = render(tables, request.format, notes)
    _deliver(workspace, request, written)


def _groups(
    workspace: Workspace, sweep: SweepRecord | None, split: str | None
) -> tuple[list[Group], list[str]]:
    """Return the evaluated runs, grouped over seeds, and what a reader has to know of them."""
    runs_root = Path(workspace.runs)
    folders = run_folders(runs_root)
    notes: list[str] = []
    if sweep is not None:
        names = {name for cell in sweep.cells for name in cell.runs}
        folders = [folder for folder in folders if folder.name in names]
        notes += sweep.notes
    if not folders:
        raise RunError(f"{runs_root} holds no run to report; train some first: pfcli sweep")
    results, unevaluated = read_results(folders, split=split)
    if not results:
        on, option = (f" on {split!r}", f" --split {split}") if split else ("", "")
        raise RunError(
            f"none of the {len(folders)} runs in {runs_root} is evaluated{on}; "
            f"first: pfcli eval {folders[-1].name}{option}"
        )
    if unevaluated:
        notes.append(f"not evaluated and so not shown: {', '.join(unevaluated)}")
    if any(result.record.dataset in shipped().datasets for result in results):
        notes.append(
            "the embedded models are small: this shows the method at work, "
            "it does not replicate the paper"
        )
    return group_runs(results), notes


def failed_table(sweep: SweepRecord) -> Table | None:
    """Return the cells of a sweep that failed, with their errors; None where none did."""
    rows = [[cell_label(cell.settings), cell.error] for cell in sweep.failed]
    return Table(f"Failed in {sweep.name}", ["cell", "error"], rows) if rows else None


def _page(
    workspace: Workspace,
    request: ReportRequest,
    groups: Sequence[Group],
    notes: Sequence[str],
    tables: Sequence[ReportTable],
    order: Sequence[Table],
    failed: Table | None,
) -> str:
    datasets = dict.fromkeys(group.first.record.dataset for group in groups)
    folders = {name: folder for name in datasets if (folder := data_folder(workspace, name))}
    browsed, missing = browse(
        groups,
        Path(workspace.cache),
        thumbnail=lambda dataset, path: _thumbnail(folders, dataset, path),
        max_images=request.max_images,
    )
    results = [result for group in groups for result in group.results]
    explained, unshown = _explained([result.folder for result in results])
    source = f"sweep {request.sweep}" if request.sweep else f"{workspace.runs}"
    return html_page(
        PageContent(
            subtitle=f"{', '.join(datasets)} · {len(results)} runs of {source}",
            notes=[*notes, *missing, *unshown],
            tables=tables,
            order=order,
            failed=failed,
            curves=learning_curves(groups),
            lengths=length_plots(groups),
            masks=mask_pictures(),
            browsed=browsed,
            explained=explained,
        )
    )


def _explained(folders: Sequence[Path]) -> tuple[str, list[str]]:
    """Return cards of what was explained of runs, and a line if not all of it is shown."""
    there = explained_examples(folders)
    cards = explanation_cards(
        [(read_explanation(one), (one / PICTURE).read_bytes()) for one in there[:_MAX_EXPLAINED]]
    )
    left = len(there) - _MAX_EXPLAINED
    return cards, [f"{left} further explained examples are not shown"] if left > 0 else []


def data_folder(workspace: Workspace, dataset: str) -> Path | None:
    """Return where a dataset's media are, if they are still there."""
    folder = workspace.data_of(dataset)
    if folder is not None and folder.is_file():  # a table: its media lie beside it
        folder = folder.parent
    return folder if folder is not None and folder.is_dir() else None


def _thumbnail(folders: Mapping[str, Path], dataset: str, relative: str) -> str | None:
    """Return a small JPEG as a `data:` URL; None where the image cannot be had."""
    if dataset not in folders:
        return None
    import PIL.Image

    from ..extract.images import decode_image

    root = folders[dataset].resolve()
    path = (root / relative).resolve()
    if not path.is_relative_to(root):
        return None
    try:
        picture = PIL.Image.fromarray(decode_image(path).pixels)
    except MediumError:  # the answer is shown without it
        return None
    picture.thumbnail((_THUMBNAIL_PIXELS, _THUMBNAIL_PIXELS))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=_JPEG_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode('ascii')}"


def _deliver(workspace: Workspace, request: ReportRequest, written: str) -> None:
    output = None if request.output is None else Path(request.output)
    if output is None and request.format == "html":
        output = Path(workspace.runs).parent / _DEFAULT_PAGE
    if output is None:
        print(written, end="")
        return
    make_folder(output.parent)
    write_atomic(output, written)
    print(f"wrote {output}")
