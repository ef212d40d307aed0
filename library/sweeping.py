"""A grid of runs, planned and trained; what a generated dataset lacks is extracted first."""

from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path

from ..cache.examples import read_dataset
from ..errors import ConfigError
from ..extract.reopen import live_encoders
from ..extract.threads import undivided_work, usable_processors
from ..settings import COMMAND_LINE
from ..stopping import NEVER, Stop
from ..train.fusion.methods import METHODS
from ..train.plm import PLMS
from ..train.settings import EvalSettings, TrainSettings
from ..train.sweep.choice import choice_of, grid_settings
from ..train.sweep.grid import expand, grid_hash
from ..train.sweep.job import Places, run_sweep
from ..train.sweep.presets import PLM_BY_FAMILY, Available, preset_grid
from ..train.sweep.record import SweepRecord, open_sweep, pin_features
from ..train.sweep.settings import SweepSettings
from .extraction import Extraction, provide_generated
from .training import dataset_in_cache, load_chosen
from .workspace import DatasetRow, Workspace, read_toml


@dataclass(frozen=True)
class Plan:
    """A sweep that is about to be trained.

    Attributes:
        record: As it was left, or new.
        cells: The settings of its cells.
        row: What is said of its dataset.
        places: Where it reads and writes.
        evaluation: How its runs are evaluated.
        jobs: Cells trained at once.
        notes: What its preset leaves out, and what changed in the cache since it began.
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

    Args:
        workspace: Where things are, and which dataset is trained on.
        settings: The grid.
        base: What all cells share.
        evaluation: How runs are evaluated.
        announce: Called with each extraction once it is done.
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
    typed = choice = choice_of(settings, COMMAND_LINE)
    if settings.grid is not None:
        said = grid_settings(read_toml(Path(settings.grid)), settings.grid)
        typed = choice = choice.over(choice_of(said, settings.grid))
    notes: list[str] = []
    if preset is not None:
        task = read_dataset(Path(workspace.cache), dataset).task
        its, notes = preset_grid(preset, dataset=dataset, task=task, available=_available(row))
        choice = choice.over(its)
    cells = expand(choice, base)
    own = replace(workspace, dataset=dataset)
    for extraction in provide_generated(own, [cell.inputs for cell in cells]):
        announce(extraction)
    bare = preset is not None and typed.empty and base == TrainSettings()
    usual = f"{preset or 'grid'}-{dataset}" + ("" if bare else f"-{grid_hash(cells)}")
    name = settings.name or usual  # the same command gives it again, another grid does not
    places = Places(
        Path(workspace.cache),
        Path(workspace.runs),
        Path(workspace.sweeps) / name,
        live_encoders(base.device),
        workspace.presets_of(dataset),
    )
    wanted = SweepRecord(name, dataset, preset, tuple(notes), ())
    record = open_sweep(places.sweep, wanted, cells=cells)
    record, changes = pin_features(record, places.cache)
    # Small models gain little from several threads in one product; a large one fills the processors
    jobs = settings.jobs or (usable_processors() if row.sweep.side_by_side else 1)
    return Plan(record, cells, row, places, evaluation, jobs, (*notes, *changes))


def train_planned(plan: Plan, stop: Stop = NEVER) -> SweepRecord:
    """Return the sweep after training and evaluating what is left of it, unless asked to stop."""
    with _threads(plan.jobs) as pool:
        return run_sweep(
            plan.record,
            plan.cells,
            plan.places,
            lambda cell: load_chosen(plan.row, cell),
            plan.evaluation,
            pool=pool,
            stop=stop,
        )


def _available(row: DatasetRow) -> Available:
    """Return what this version has for a dataset, its language models by family."""
    shots = row.sweep.shots
    return Available(
        methods=METHODS,
        settings=[field.name for field in fields(TrainSettings)],
        plms=row.sweep.plms
        or {family: PLM_BY_FAMILY[family] for family in PLMS if family in PLM_BY_FAMILY},
        shots=tuple(size if isinstance(size, int) else None for size in shots) if shots else None,
        seeds=row.sweep.seeds,
    )


@contextmanager
def _threads(count: int) -> Iterator[Executor | None]:
    """Yield threads of one torch thread each, or None for one, which needs none."""
    if count == 1:
        yield None
        return
    with (
        undivided_work() as undivided,
        ThreadPoolExecutor(count, thread_name_prefix="cell", initializer=undivided) as pool,
    ):
        yield pool
