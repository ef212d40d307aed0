"""Training and evaluation as the settings say, with what both need: model, encoders, threads."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ..cache.examples import read_datasets
from ..errors import CacheError, ConfigError, RunError, did_you_mean
from ..settings import read_settings
from ..stopping import Stop
from ..train.data.selection import select
from ..train.evaluate import Evaluation, evaluate_run
from ..train.fusion.methods import method_named
from ..train.live import LoadLive
from ..train.plm import load_plm
from ..train.plm.frozen import PLM
from ..train.record import PROMPT, RunRecord, read_record
from ..train.runs.finish import finish_runs
from ..train.runs.folders import find_run
from ..train.runs.start import start_runs
from ..train.settings import NOT_A_RESULT, EvalSettings, TrainSettings
from .to_type import evaluation
from .workspace import DatasetRow, Workspace, shipped

_SMALL_MODEL_PARAMETERS = 10_000_000


@dataclass(frozen=True)
class Run:
    """A run on disk: the folder of its record and prompt, and the cache whose features it reads."""

    folder: Path
    cache_root: Path

    @property
    def name(self) -> str:
        """Its folder's name."""
        return self.folder.name

    @property
    def record(self) -> RunRecord:
        """What it was made with."""
        return read_record(self.folder)

    @property
    def prompt_path(self) -> Path:
        """The file of its trained prompt."""
        return self.folder / PROMPT

    def evaluate(self, *, quiet: bool = True, **settings: Any) -> Evaluation:
        """Return its scores on a split, after writing answers and scores into its folder.

        Args:
            quiet: Show no progress bar.
            settings: Those of `pfcli eval`, such as `split`.

        Raises:
            RunError: If the run is unfinished.
            CacheError: If the cache lacks the split or its features.
        """
        chosen = read_settings(EvalSettings, settings, "evaluate(…)")
        return evaluate(self, chosen, quiet=quiet)


def evaluate(run: Run, settings: EvalSettings, *, quiet: bool = False) -> Evaluation:
    """Return a run's scores on a split, after writing answers and scores into its folder."""
    plm = load_recorded(run.record, settings.device, settings.threads)
    live = _live_encoders(settings.device)
    return evaluate_run(run.folder, run.cache_root, plm, settings, quiet=quiet, live=live)


def open_run(workspace: Workspace, run: str | None) -> Run:
    """Return a run given its path, name, number or the beginning of its name; None: the latest."""
    return Run(find_run(Path(workspace.runs), run), Path(workspace.cache))


def dataset_in_cache(workspace: Workspace) -> str:
    """Return the dataset to train on: the one named, or the only one that the cache holds.

    Raises:
        CacheError: If the cache holds none, or several and none is named.
    """
    cache_root, named = Path(workspace.cache), workspace.dataset
    names = [info.name for info in read_datasets(cache_root)]
    if named in names:
        return named
    if named is not None:
        nearest = did_you_mean(named, [*names, *workspace.datasets, *shipped().datasets])
        advice = nearest or f"; run: pfcli extract --dataset {named}"
        raise CacheError(f"no dataset {named!r} in {cache_root}{advice}")
    if not names:
        raise CacheError(f"{cache_root} holds no dataset; run first: pfcli extract --modality all")
    if len(names) > 1:
        raise CacheError(f"the cache holds {', '.join(names)}; choose one with --dataset")
    return names[0]


def train(
    workspace: Workspace,
    settings: TrainSettings,
    *,
    announce: Callable[[RunRecord], object] | None = None,
    quiet: bool = False,
    stop: Stop | None = None,
) -> list[Run]:
    """Return newly trained runs, one a seed.

    Args:
        workspace: Where the cache and the runs lie, and which dataset is trained on.
        settings: What to train.
        announce: Called with the first run's record before it is trained.
        quiet: Show no progress bar.
        stop: What asks to stop; by default the settings' time limit.

    Raises:
        Stopped: If it was asked to; the run goes on from there with `resume`.
    """
    stop = stop or Stop(settings.time_limit)
    method_named(settings.method)
    dataset = dataset_in_cache(workspace)
    selection = select(Path(workspace.cache), dataset, settings.split, settings.inputs)
    plm = load_chosen(workspace.row(dataset), settings)
    live = _live_encoders(settings.device)
    presets = workspace.presets_of(dataset)
    runs = Path(workspace.runs)
    folders = start_runs(selection, runs, plm, settings, live=live, presets=presets)
    return _finished(workspace, folders, plm, settings, announce, quiet=quiet, stop=stop)


def resume(
    workspace: Workspace,
    run: str,
    settings: TrainSettings,
    typed: Mapping[str, Any],
    *,
    announce: Callable[[RunRecord], object] | None = None,
    quiet: bool = False,
    stop: Stop | None = None,
) -> list[Run]:
    """Return an interrupted run and those beside it, trained to the end.

    Args:
        workspace: Where the cache and the runs lie.
        run: Its path, name, number or the beginning of its name.
        settings: Of the machine.
        typed: What was asked for; it must be what the run was started with.
        announce: Called with the first run's record before it is trained on.
        quiet: Show no progress bar.
        stop: What asks to stop; by default the settings' time limit.

    Raises:
        Stopped: If it was asked to; the run goes on from there when resumed again.
        RunError: If it is finished, or there is no such run.
        ConfigError: If it was started with other settings.
    """
    stop = stop or Stop(settings.time_limit)
    folder = find_run(Path(workspace.runs), run)
    record = read_record(folder)
    _require_same(record, settings, typed)
    if (folder / PROMPT).is_file():
        raise RunError(f"{folder} is finished; next: {evaluation(workspace, folder)}")
    folders = [folder.parent / name for name in record.group]
    plm = load_recorded(record, settings.device, settings.threads)
    return _finished(workspace, folders, plm, settings, announce, quiet=quiet, stop=stop)


def _require_same(record: RunRecord, settings: TrainSettings, typed: Mapping[str, Any]) -> None:
    dataset = typed.get("dataset", record.dataset)
    if dataset != record.dataset:
        raise ConfigError(f"--dataset {dataset}: run {record.name} trains on {record.dataset}")
    for name in (typed.keys() & vars(settings).keys()).difference(NOT_A_RESULT):
        asked, own = getattr(settings, name), getattr(record.settings, name)
        if asked != own:
            option = f"--{name.replace('_', '-')}"
            raise ConfigError(
                f"{option} is {asked}, and run {record.name} was started with {own}; leave "
                f"{option} out to go on with it, or --resume to train a new run"
            )


def _finished(
    workspace: Workspace,
    folders: Sequence[Path],
    plm: PLM,
    settings: TrainSettings,
    announce: Callable[[RunRecord], object] | None,
    *,
    quiet: bool,
    stop: Stop,
) -> list[Run]:
    cache_root, live = Path(workspace.cache), _live_encoders(settings.device)
    if announce is not None:
        announce(read_record(folders[0]))
    every = settings.checkpoint_every
    finish_runs(folders, cache_root, plm, checkpoint_every=every, quiet=quiet, live=live, stop=stop)
    return [Run(folder, cache_root) for folder in folders]


def _live_encoders(device: str) -> LoadLive:
    """Return what loads encoders to train; extraction is imported when the first is asked for."""

    @cache
    def loader() -> LoadLive:
        from ..extract.reopen import live_encoders

        return live_encoders(device)

    return lambda features, field: loader()(features, field)


def load_chosen(row: DatasetRow, settings: TrainSettings) -> PLM:
    """Return the language model chosen, else the dataset's own, else the paper's."""
    source, revision = row.plm_for(settings.plm), settings.plm_revision
    return load(source, settings.plm_dtype, settings.device, settings.threads, revision=revision)


def load_recorded(record: RunRecord, device: str, threads: int | None) -> PLM:
    """Return the language model that a run was trained with, of the same revision."""
    dtype, revision = record.settings.plm_dtype, record.plm.get("revision")
    return load(str(record.plm["source"]), dtype, device, threads, revision=revision)


def load(
    source: str, dtype: str, device: str, threads: int | None, *, revision: str | None = None
) -> PLM:
    """Return the language model, after settling torch's threads.

    A small model's products are too short to divide: beside another busy program, two threads
    took eight times the processor time of one.
    """
    import torch

    plm = load_plm(source, revision=revision, dtype=dtype, device=device)
    if threads is None and plm.identity["parameters"] < _SMALL_MODEL_PARAMETERS:
        threads = 1
    if threads is not None:
        torch.set_num_threads(threads)
    return plm
