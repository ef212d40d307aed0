"""A grid of runs, planned and trained; what a generated dataset lacks is extracted first."""

import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from tqdm import tqdm

from ..cache.examples import read_dataset
from ..cluster import EngineName
from ..errors import ConfigError
from ..extract.reopen import live_encoders
from ..settings import COMMAND_LINE, read_toml
from ..stopping import NEVER, Stop
from ..threads import undivided_work, usable_processors
from ..train.settings import EvalSettings, TrainSettings
from ..train.sweep.grid import GridSettings, checked_grid, expand, grid_hash, read_grid
from ..train.sweep.job import CellTrainer, Places, TrainCells, run_sweep
from ..train.sweep.presets import preset_grid
from ..train.sweep.record import CellRecord, SweepRecord, open_sweep, pin_features
from ..train.sweep.settings import SweepSettings
from .extraction import Extraction, provide_generated
from .training import dataset_in_cache, load_chosen
from .workspace import DatasetRow, Workspace


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
    jobs: int | None
    notes: tuple[str, ...]
    device: str
    engine: EngineName = "local"
    address: str | None = None


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
        presets=workspace.presets_of(dataset),
    )
    wanted = SweepRecord(name, dataset, preset, tuple(notes), tuple(map(CellRecord, cells)))
    record = open_sweep(places.sweep, wanted)
    record, changes = pin_features(record, places.cache)
    # Small models gain little from several threads in one product; a large one fills the processors
    side_by_side = row.sweep.side_by_side and settings.engine == "local"
    jobs = settings.jobs or (usable_processors() if side_by_side else None)
    return Plan(
        record=record,
        cells=cells,
        row=row,
        places=places,
        evaluation=evaluation,
        jobs=jobs,
        notes=(*notes, *changes),
        device=base.device,
        engine=settings.engine,
        address=settings.address,
    )


def train_planned(plan: Plan, stop: Stop = NEVER) -> SweepRecord:
    """Return the sweep after training and evaluating what is left of it, unless asked to stop."""
    if plan.engine == "local":
        return _train(plan, cell_trainer(plan, stop), plan.jobs or 1, stop)
    from ..cluster import Share, ray_cluster
    from ..train.sweep.on_ray import RayTrainer

    with ray_cluster(plan.address) as ray:
        share = Share.of(ray, plan.jobs, gpus=plan.device != "cpu")
        return _train(
            plan, RayTrainer(ray, partial(cell_trainer, plan), share), share.workers, stop
        )


def cell_trainer(plan: Plan, stop: Stop = NEVER) -> CellTrainer:
    """Return what trains the cells of a sweep in this process."""
    places = replace(plan.places, live=live_encoders(plan.device))
    load = partial(load_chosen, plan.row)
    name, say = plan.record.dataset, partial(tqdm.write, file=sys.stderr)
    return CellTrainer(name, places, load, plan.evaluation, announce=say, stop=stop)


def _train(plan: Plan, train: TrainCells, jobs: int, stop: Stop) -> SweepRecord:
    run = partial(
        run_sweep, plan.record, plan.cells, plan.places, train, plan.evaluation, stop=stop
    )
    if jobs == 1:
        return run()
    with (
        undivided_work() as undivided,
        ThreadPoolExecutor(jobs, thread_name_prefix="cell", initializer=undivided) as pool,
    ):
        return run(pool=pool, jobs=jobs)
