"""What `import promptfuse` offers: the commands' work as functions that print nothing.

Keywords are the command line's options, `lr_prompt=` for `--lr-prompt`, and are checked alike: an
unknown one is an `UnknownName`, a value of the wrong type or out of range a `ConfigError`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, TypeVar

from ..extract.settings import ExtractSettings
from ..settings import read_settings
from ..train.settings import EvalSettings, TrainSettings
from .workspace import Workspace

if TYPE_CHECKING:
    from ..train.report.report import Report
    from .answering import Answerer
    from .extraction import Extraction
    from .training import Run

Kind = TypeVar("Kind")
Function = TypeVar("Function", bound=Callable[..., Any])


def _keywords(kind: type) -> Callable[[Function], Function]:
    """Show a settings class's fields as the keywords of a function that takes any."""

    def show(function: Function) -> Function:
        own = inspect.signature(function)
        *named, _ = own.parameters.values()  # the last one takes any keyword
        for shown in (Workspace, kind):
            fields = inspect.signature(shown).parameters.values()
            named += [field.replace(kind=field.KEYWORD_ONLY) for field in fields]
        function.__signature__ = own.replace(parameters=named)  # pyright: ignore[reportFunctionMemberAccess]
        return function

    return show


@_keywords(ExtractSettings)
def extract(**settings: Any) -> Extraction:
    """Write a dataset's features into the cache, and return what was done.

    `settings` are `dataset`, `data`, `cache`, and each setting of `pfcli extract`.
    """
    from . import extraction

    return extraction.extract(*_read("extract(…)", ExtractSettings, settings))


@_keywords(TrainSettings)
def train(*, quiet: bool = True, **settings: Any) -> list[Run]:
    """Return newly trained runs, one a seed.

    `settings` are `dataset`, `cache`, `runs`, and each setting of `pfcli train`; `quiet` shows no
    progress bar.

    Raises:
        CacheError: If the cache lacks the dataset or its features.
    """
    from . import training

    return training.train(*_read("train(…)", TrainSettings, settings), quiet=quiet)


def open_run(run: str | Path | None = None, **places: Any) -> Run:
    """Return a run given its path, name, number or the beginning of its name; None: the latest.

    `places` are `runs` and `cache`, where they are not the usual ones.

    Raises:
        RunError: If there is none, or several.
    """
    from . import training

    workspace = read_settings(Workspace, places, "open_run(…)")
    return training.open_run(workspace, None if run is None else str(run))


def load_prompt(
    path: str | Path,
    *,
    encoders: Mapping[str, str] | None = None,
    plm: str | None = None,
    plm_revision: str | None = None,
    cache: str | PurePath = Workspace.cache,
    **settings: Any,
) -> Answerer:
    """Return a trained prompt that answers: `load_prompt(path).answer(text=…, image=…)`.

    `path` is a run's folder or what `pfcli export` wrote. `encoders` (by modality), `plm` and its
    `plm_revision` say where models are if not where the prompt says, `cache` where features are
    kept; `settings` are those of `pfcli eval`.

    Raises:
        RunError: If the run is unfinished or has trained its encoders, or the file is damaged.
    """
    from ..train import trained
    from .answering import Answerer

    _, chosen = _read("load_prompt(…)", EvalSettings, settings)
    prompt = trained.load_prompt(Path(path).expanduser())
    return Answerer(
        prompt, cache=cache, encoders=encoders, plm=plm, plm_revision=plm_revision, settings=chosen
    )


def report(
    *, sweep: str | None = None, split: str | None = None, table: int | None = None, **places: Any
) -> Report:
    """Return the paper's tables made of runs: `report().text("markdown")`, `report().tables`.

    `sweep` reports its runs alone, `split` the figures of another split than test, `table` one of
    the paper's; `places` are `runs` and `sweeps`, where they are not the usual ones.

    Raises:
        ConfigError: If runs never fill that table of the paper.
        RunError: If there is no run, none is evaluated, or they do not fill the table.
        UnknownName: If there is no such sweep.
    """
    from ..train.report.report import make_report

    workspace = read_settings(Workspace, places, "report(…)")
    return make_report(
        workspace.runs, sweeps_root=workspace.sweeps, sweep=sweep, split=split, table=table
    )


def _read(call: str, kind: type[Kind], values: dict[str, Any]) -> tuple[Workspace, Kind]:
    """Return the places and the settings that a call's keywords name."""
    places = {name: values.pop(name) for name in vars(Workspace()) if name in values}
    return read_settings(Workspace, places, call), read_settings(kind, values, call)
