"""`pfcli report`: the paper's tables made of runs, printed, written, or as one HTML page."""

from pathlib import Path

from ..cache.atomic import make_folder, write_atomic
from ..errors import ConfigError
from ..library.workspace import Workspace
from ..train.report.pages import Picture
from ..train.report.report import Report, make_report
from ..train.report.settings import ReportSettings

_DEFAULT_PAGE = "report.html"


def run_report(workspace: Workspace, settings: ReportSettings) -> None:
    """Print or write the report that is asked for."""
    report = make_report(
        workspace.runs,
        sweeps_root=workspace.sweeps,
        sweep=settings.sweep,
        split=settings.split,
        table=settings.table,
    )
    html = settings.format == "html"
    if html:
        written = _page(report, workspace, max_images=settings.max_images)
    else:
        written = report.text(settings.format)
    output = settings.output or (workspace.runs.parent / _DEFAULT_PAGE if html else None)
    if output is None:
        print(written, end="")
        return
    if Path(output).is_dir():
        raise ConfigError(f"--output {output} is a folder; name a file in it")
    make_folder(Path(output).parent)
    write_atomic(Path(output), written)
    print(f"wrote {output}")


def _page(report: Report, workspace: Workspace, *, max_images: int) -> str:
    """Return a report as a page, with pictures of those media that are still there."""
    from ..extract.thumbnails import draw_thumbnail  # brings decoders, which a table does without

    def thumbnail(dataset: str, modality: str, path: str, key: bytes | None) -> Picture | None:
        folder = workspace.media_folder(dataset)
        drawn = folder and draw_thumbnail(folder, path, modality, key=key)
        if not drawn:
            return None
        return Picture.of(drawn.content, "jpeg", width=drawn.width, height=drawn.height)

    return report.page(workspace.cache, thumbnail=thumbnail, max_images=max_images)
