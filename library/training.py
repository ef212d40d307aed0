"""Training and evaluation as the settings say, with what both need: model, encoders, threads."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import torch

from ..cache.examples import read_datasets
from ..cache.store import FeatureSet
from ..errors import CacheError, ConfigError, RunError, did_you_mean
from ..settings import read_settings
from ..stopping import Stop
from ..train.data.selection import select
from ..train.evaluate import Evaluation, evaluate_run
from ..train.live import LoadLive, TrainableEncoder
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
    cache_root: PurePath

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

        `settings` are those of `pfcli eval`, such as `split`; `quiet` shows no progress bar.

        Raises:
            RunError: If the run is unfinished.
            CacheError: If the cache lacks the split or its features.
        """
        chosen = read_settings(EvalSettings, settings, "evaluate(…)")
        plm = load_recorded(self.record, chosen.device, chosen.threads)
        live = _live_encoders(chosen.device)
        return evaluate_run(self.folder, self.cache_root, plm, chosen, quiet=quiet, live=live)


def open_run(workspace: Workspace, run: str | None) -> Run:
    """Return a run given its path, name, number or the beginning of its name; None: the latest."""
    return Run(find_run(workspace.runs, run), workspace.cache)


def dataset_in_cache(workspace: Workspace) -> str:
    """Return the dataset to train on: the one named, or the only one that the cache holds."""
    cache_root, named = workspace.cache, workspace.dataset
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
    resume: str | None = None,
    typed: Mapping[str, Any] | None = None,
    announce: Callable[[RunRecord], object] | None = None,
    quiet: bool = False,
    stop: Stop | None = None,
) -> list[Run]:
    """Return trained runs, one a seed: new ones, or an interrupted one and those beside it.

    Of an interrupted run, named by `resume`, the settings are the machine's, and it must have been
    started with what was `typed`. `announce` is called with the first run's record before it is
    trained; `quiet` shows no progress bar; `stop` asks to stop, by default at the settings' time
    limit.

    Raises:
        Stopped: If it was asked to; the run goes on from there when resumed.
    """
    stop = stop or Stop(settings.time_limit)
    live = _live_encoders(settings.device)
    if resume is not None:
        folders, plm = _interrupted(workspace, resume, settings, typed or {})
    else:
        dataset = dataset_in_cache(workspace)
        selection = select(workspace.cache, dataset, settings.split, settings.inputs)
        plm = load_chosen(workspace.row(dataset), settings)
        presets = workspace.presets_of(dataset)
        folders = start_runs(selection, workspace.runs, plm, settings, live=live, presets=presets)
    if announce is not None:
        announce(read_record(folders[0]))
    every = settings.checkpoint_every
    ended = finish_runs(
        folders, workspace.cache, plm, checkpoint_every=every, quiet=quiet, live=live, stop=stop
    )
    for error in ended.values():
        raise error
    return [Run(folder, workspace.cache) for folder in folders]


def _interrupted(
    workspace: Workspace, run: str, settings: TrainSettings, typed: Mapping[str, Any]
) -> tuple[list[Path], PLM]:
    """Return the folders of an unfinished run and those beside it, and their language model."""
    folder = find_run(workspace.runs, run)
    record = read_record(folder)
    _require_same(record, settings, typed)
    if (folder / PROMPT).is_file():
        raise RunError(f"{folder} is finished; next: {evaluation(workspace, folder)}")
    plm = load_recorded(record, settings.device, settings.threads)
    return [folder.parent / name for name in record.group], plm


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


def _live_encoders(device: str) -> LoadLive:
    """Return what loads encoders to train; extraction is imported when the first is asked for."""

    def load(features: FeatureSet, field: str) -> TrainableEncoder:
        from ..extract.reopen import live_encoders

        return live_encoders(device)(features, field)

    return load


def load_chosen(row: DatasetRow, settings: TrainSettings) -> PLM:
    """Return the language model chosen, else the dataset's own, else the paper's."""
    source, revision = row.plm_for(settings.plm), settings.plm_revision
    return load(source, settings.plm_dtype, settings.device, settings.threads, revision=revision)


def load_recorded(
    record: RunRecord, device: str, threads: int | None, *, dtype: str | None = None
) -> PLM:
    """Return the language model that a run was trained with, of the same revision."""
    source, dtype = str(record.plm["source"]), dtype or record.settings.plm_dtype
    return load(source, dtype, device, threads, revision=record.plm.get("revision"))


def load(
    source: str, dtype: str, device: str, threads: int | None, *, revision: str | None = None
) -> PLM:
    """Return the language model, after settling torch's threads.

    A small model's products are too short to divide: beside another busy program, two threads
    took eight times the processor time of one.
    """
    plm = load_plm(source, revision=revision, dtype=dtype, device=device)
    small = plm.identity["parameters"] < _SMALL_MODEL_PARAMETERS
    if threads := threads or (1 if small else None):
        torch.set_num_threads(threads)
    return plm
