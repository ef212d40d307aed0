"""`pfcli explain`: which pixels, frames, sounds and words the methods' answers rest on."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich import progress
from rich.console import Console

from ..errors import RunError
from ..library import to_type
from ..library.workspace import Workspace
from ..train.explain.settings import ExplainSettings
from ..train.record import read_record
from ..train.runs.folders import find_run


@contextmanager
def stages(max_steps: int) -> Iterator[Callable[[str, int], None]]:
    """Keep a line on the terminal, redrawn ten times a second, that says what is being done.

    What it yields is told what, and how many points of a path are taken next: `max_steps` of one
    method at most, as refining mostly ends long before.
    """
    console = Console(stderr=True)
    columns = [progress.SpinnerColumn(), progress.TextColumn("{task.description}")]
    columns += [progress.BarColumn(), progress.MofNCompleteColumn(), progress.TimeElapsedColumn()]
    disable = not console.is_terminal
    with progress.Progress(*columns, console=console, transient=True, disable=disable) as shown:
        line = shown.add_task("load libraries", total=None)

        def watch(doing: str, points: int) -> None:
            if doing != shown.tasks[0].description:
                shown.reset(line, description=doing, total=None)
            if points:
                shown.update(line, advance=points, total=max_steps)

        yield watch


def run_explain(workspace: Workspace, run: str | None, settings: ExplainSettings) -> None:
    """Explain examples of a run beside the other methods; print figures and write pictures."""
    with stages(settings.max_steps) as watch:
        folder = find_run(workspace.runs, run)
        _explain(workspace, folder, settings, watch)
    print(f"next: {to_type.showing(workspace, folder)}")


def _explain(
    workspace: Workspace, folder: Path, settings: ExplainSettings, watch: Callable[[str, int], None]
) -> None:
    from ..extract.reopen import live_encoders, media_decoder
    from ..library.training import load_recorded
    from ..train.explain.beside import require_explainable
    from ..train.explain.explainer import explain, open_explainer
    from ..train.explain.explanation import PAGE, PICTURE, example_folder
    from ..train.report.explanation_page import write_explanation

    record = read_record(folder)
    require_explainable(record)
    media_folder = workspace.media_folder(record.dataset)
    if media_folder is None:
        wrong = f"--data {workspace.data}: no such folder; " if workspace.data else ""
        raise RunError(
            f"{wrong}the media of {record.dataset} are needed again, to be encoded live; where are "
            "they? --data FOLDER"
        )
    watch(f"load the language model {record.plm['source']}", 0)
    plm = load_recorded(record, settings.device, settings.threads, dtype="float32")
    watch("load the encoders", 0)
    explainer = open_explainer(
        folder,
        workspace.cache,
        plm,
        split=settings.split,
        live=live_encoders(settings.device, settings.encoder),
        decode=media_decoder(media_folder, settings.encoder),
    )
    for method in explainer.missing:
        command = to_type.training(workspace, record, method=method)
        print(f"no {method} run to set beside it; to train one: {command}")
    for name in settings.example or explainer.table.ids[:1]:
        explanation, pictured = explain(
            explainer,
            explainer.example(name),
            baseline=settings.baseline,
            max_steps=settings.max_steps,
            watch=watch,
        )
        watch(f"draw {name}", 0)
        print(f"{explanation.dataset} {explanation.split} {name}: {explanation.text}")
        print(explanation.figures().text())
        for line in explanation.warnings():
            print(f"warning: {line}")
        there = example_folder(folder, name)
        write_explanation(there, explanation, pictured)
        print(f"wrote {there / PICTURE}\nwrote {there / PAGE}")
