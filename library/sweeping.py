"""A grid of runs, planned and trained; what a generated dataset lacks is extracted first."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from ..cache.examples import read_dataset
from ..errors import ConfigError
from ..extract.reopen import live_encoders
from ..extract.threads import undivided_work, usable_processors
from ..settings import COMMAND_LINE
from ..stopping import NEVER, Stop
from ..train.settings import EvalSettings, TrainSettings
from ..train.sweep.grid import GridSettings, checked_grid, expand, grid_hash, read_grid
from ..train.sweep.job import Places, run_sweep
from ..train.sweep.presets import preset_grid
from ..train.sweep.record import CellRecord, SweepRecord, open_sweep, pin_features
from ..train.sweep.settings import SweepSettings
from .extraction import Extraction, provide_generated
from .training import dataset_in_cache, load_chosen
from .workspace import DatasetRow, Workspace, read_toml


@dataclass(frozen=True)
class Plan:
    """A sweep that is about to be trained, its record as it was left, or new.

    `notes` say what its preset leaves out, and what changed in the cache since it began.
    """

    record: SweepRecord
    cells: list[TrainSettings]
    row: DatasetRow
    places: Places
    evaluation: EvalSettings
    jobs: int
    notes: tuple[str, ...]


def plan_sweep(
    workspace: Workspace,
    settings: SweepSettings,
    base: TrainSettings | None = None,
    evaluation: EvalSettings | None = None,
    *,
    announce: Callable[[Extraction], object],
) -> Plan:
    """Return what a sweep is going to train, after extracting what its dataset lacks.

    `base` is what all cells share, `evaluation` how runs are evaluated; `announce` is called with
    each extraction once it is done.
    """
    if settings.name is not None and Path(settings.name).name != settings.name:
        raise ConfigError(
            f"--name {settings.name}: a folder's name is expected, no path; --sweeps says where"
        )
    base, evaluation = base or TrainSettings(), evaluation or EvalSettings()
    for extraction in provide_generated(workspace, ()):
        announce(extraction)
    dataset = dataset_in_cache(workspace)
    row, preset = workspace.row(dataset), settings.preset
    typed = grid = checked_grid(settings, COMMAND_LINE)
    if settings.grid is not None:
        typed = grid = grid.over(read_grid(read_toml(Path(settings.grid)), settings.grid))
    notes: list[str] = []
    if preset is not None:
        task = read_dataset(workspace.cache, dataset).task
        own = {name: getattr(row.sweep, name) for name in ("shots", "seeds", "plms")}
        its, notes = preset_grid(preset, dataset=dataset, task=task, **own)
        grid = grid.over(its)
    cells = expand(grid, base)
    own = replace(workspace, dataset=dataset)
    for extraction in provide_generated(own, [cell.inputs for cell in cells]):
        announce(extraction)
    bare = preset is not None and typed == GridSettings() and base == TrainSettings()
    usual = f"{preset or 'grid'}-{dataset}" + ("" if bare else f"-{grid_hash(cells)}")
    name = settings.name or usual  # the same command gives it again, another grid does not
    places = Places(
        workspace.cache,
        workspace.runs,
        workspace.sweeps / name,
        live_encoders(base.device),
        workspace.presets_of(dataset),
    )
    wanted = SweepRecord(name, dataset, preset, tuple(notes), tuple(map(CellRecord, cells)))
    record = open_sweep(places.sweep, wanted)
    record, changes = pin_features(record, places.cache)
    # Small models gain little from several threads in one product; a large one fills the processors
    jobs = settings.jobs or (usable_processors() if row.sweep.side_by_side else 1)
    return Plan(record, cells, row, places, evaluation, jobs, (*notes, *changes))


def train_planned(plan: Plan, stop: Stop = NEVER) -> SweepRecord:
    """Return the sweep after training and evaluating what is left of it, unless asked to stop."""
    load = partial(load_chosen, plan.row)
    train = partial(
        run_sweep, plan.record, plan.cells, plan.places, load, plan.evaluation, stop=stop
    )
    if plan.jobs == 1:
        return train()
    with (
        undivided_work() as undivided,
        ThreadPoolExecutor(plan.jobs, thread_name_prefix="cell", initializer=undivided) as pool,
    ):
        return train(pool=pool)
