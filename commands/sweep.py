"""`pfcli sweep`: a grid from the command line, a file or a preset, trained and evaluated."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..cache.examples import read_dataset
from ..config import Workspace, parsed_value, typed_value
from ..dataset_row import DatasetRow
from ..defaults import dataset_in_cache, plm_for
from ..errors import ConfigError, UnknownName
from ..extract.reopen import live_encoders
from ..extract.threads import undivided_work, usable_processors
from ..tables import Cell, Spread, Table
from ..train.fusion.methods import METHODS
from ..train.plm import PLMS
from ..train.report.collect import read_results
from ..train.report.report import failed_table
from ..train.settings import EvalSettings, TrainSettings
from ..train.sweep.grid import GridChoice, cell_label, cell_values, expand, grid_hash
from ..train.sweep.job import Places, run_sweep
from ..train.sweep.presets import PLM_BY_FAMILY, Available, preset_grid
from ..train.sweep.record import CellRecord, SweepRecord, open_sweep
from ..training import load
from .embedded import provide_generated

_FILE_KEYS = ("method", "shots", "seeds", "set", "variants")


def run_sweep_command(
    workspace: Workspace,
    base: TrainSettings,
    evaluation: EvalSettings,
    choice: GridChoice,
    *,
    preset: str | None,
    name: str | None,
    jobs: int | None,
) -> SweepRecord:
    """Train and evaluate what is left of a sweep, print what came of it; return its record."""
    if workspace.dataset is not None:
        provide_generated(workspace, workspace.dataset, ())
    dataset = dataset_in_cache(workspace)
    row = workspace.row(dataset)
    notes: list[str] = []
    grid = choice
    if preset is not None:
        task = read_dataset(Path(workspace.cache), dataset).task
        its, notes = preset_grid(preset, dataset=dataset, task=task, available=_available(row))
        grid = choice.over(its)
    cells = expand(grid, base)
    provide_generated(workspace, dataset, [cell.inputs for cell in cells])
    own = name or _name(preset, dataset, cells, bare=choice.empty and base == TrainSettings())
    folder = Path(workspace.sweeps) / own
    wanted = SweepRecord(own, dataset, preset, tuple(notes), ())
    record = open_sweep(folder, wanted, cells=[cell_values(one) for one in cells])
    runs = sum(one.seeds for one in cells)
    done = sum(cell.status == "done" for cell in record.cells)
    for note in notes:
        print(note)
    print(f"sweep {own} on {dataset}: {len(cells)} cells, {runs} runs; {done} cells are done")
    places = Places(
        Path(workspace.cache),
        Path(workspace.runs),
        folder,
        live_encoders(base.device),
        workspace.presets_of(dataset),
    )
    with _threads(_jobs(jobs, row)) as pool:
        record = run_sweep(
            record,
            cells,
            places,
            lambda source, dtype: load(plm_for(row, source), dtype, base.device, base.threads),
            evaluation,
            pool=pool,
        )
    print(_summary(record, places.runs, evaluation.split).text())
    if (failed := failed_table(record)) is not None:
        print(f"\n{failed.text()}\nthe same command tries these again")
    print(f"wrote {folder}")
    return record


def _jobs(asked: int | None, row: DatasetRow) -> int:
    """Return how many cells train at once: a processor each with small models.

    They gain little from several threads in one product; a large model fills the processors alone.

    Raises:
        ConfigError: If fewer than one is asked for.
    """
    if asked is None:
        return usable_processors() if row.sweep.side_by_side else 1
    if asked < 1:
        raise ConfigError(f"--jobs is {asked}; it must be at least 1")
    return asked


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


def _available(row: DatasetRow) -> Available:
    """Return what this version has for a dataset, its language models by family."""
    shots = row.sweep.shots
    return Available(
        methods=METHODS,
        settings=[field.name for field in dataclasses.fields(TrainSettings)],
        plms=row.sweep.plms or {one: PLM_BY_FAMILY[one] for one in PLMS if one in PLM_BY_FAMILY},
        shots=tuple(size if isinstance(size, int) else None for size in shots) if shots else None,
        seeds=row.sweep.seeds,
    )


def _name(preset: str | None, dataset: str, cells: Sequence[TrainSettings], *, bare: bool) -> str:
    """Return a name that the same command gives again and another grid does not."""
    if preset is not None and bare:
        return f"{preset}-{dataset}"
    return f"{preset or 'grid'}-{dataset}-{grid_hash(cells)}"


def _summary(record: SweepRecord, runs_root: Path, split: str | None) -> Table:
    """Return a row a cell: its status and its headline figure over the seeds."""
    rows = [_summary_row(cell, runs_root, split) for cell in record.cells]
    return Table(f"Sweep {record.name}", ["cell", "status", "runs", "figure", "score"], rows)


def _summary_row(cell: CellRecord, runs_root: Path, split: str | None) -> list[Cell]:
    label, runs = cell_label(cell.settings), len(cell.runs) or None
    if cell.status != "done":
        return [label, cell.status, runs, None, None]
    results, _ = read_results([runs_root / name for name in cell.runs], split=split)
    if not results:  # the split has no answers
        return [label, cell.status, runs, None, None]
    headline = results[0].headline
    score = Spread.of([result.values[headline] for result in results])
    return [label, cell.status, runs, headline, score]


def choice_from_options(
    *,
    method: Sequence[str] | None,
    shots: Sequence[str] | None,
    seeds: int | None,
    settings: Sequence[str] | None,
) -> GridChoice:
    """Return the grid that the command line says; lists are given repeatedly or with commas.

    Raises:
        ConfigError: If a value is of the wrong type, or a setting has no `=`.
        UnknownName: If there is no such setting.
    """
    axes: dict[str, tuple[Any, ...]] = {}
    for setting in settings or ():
        name, separator, values = setting.partition("=")
        if not separator:
            raise ConfigError(f"--set {setting}: write --set NAME=VALUE,VALUE")
        axes[name] = tuple(
            parsed_value(TrainSettings, name, text.strip(), "--set") for text in values.split(",")
        )
    sizes = tuple(_shots(text, "--shots") for text in _split(shots))
    return GridChoice(_split(method) or None, sizes or None, _seeds(seeds, "--seeds"), axes)


def choice_from_file(path: Path) -> GridChoice:
    """Return the grid that a TOML file says.

    method = ["promptfuse", "blindprompt"]
    shots = [8, 32, "full"]
    seeds = 3
    [set]
    prompt_length = [5, 10, 20]
    [[variants]]
    prompt_init = "random"

    Raises:
        ConfigError: If it is not there, is not TOML, or a value is of the wrong type.
        UnknownName: If it has an unknown key or setting.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such file; --grid takes a TOML file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}") from error
    for key in values:
        if key not in _FILE_KEYS:
            raise UnknownName(f"key in {path}", key, list(_FILE_KEYS))
    methods = tuple(map(str, _listed(values.get("method", []))))
    shots = tuple(_shots(one, str(path)) for one in _listed(values.get("shots", [])))
    axes = {
        name: tuple(typed_value(TrainSettings, name, one, str(path)) for one in _listed(given))
        for name, given in _table(values.get("set", {}), "[set]", path).items()
    }
    variants = tuple(
        {
            name: typed_value(TrainSettings, name, one, str(path))
            for name, one in _table(variant, "[[variants]]", path).items()
        }
        for variant in _listed(values.get("variants", []))
    )
    seeds = _seeds(values.get("seeds"), str(path))
    return GridChoice(methods or None, shots or None, seeds, axes, variants or None)


def _split(values: Sequence[str] | None) -> tuple[str, ...]:
    return tuple(one.strip() for value in values or () for one in value.split(",") if one.strip())


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _table(value: Any, what: str, path: Path) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ConfigError(f"{what} in {path} is {value!r}; expected a table of settings")
    return value


def _shots(value: str | int, where: str) -> int | None:
    if value == "full":
        return None
    if not str(value).isdecimal() or int(value) < 1:
        raise ConfigError(f"shots in {where} is {value!r}; expected whole numbers above 0, or full")
    return int(value)


def _seeds(value: Any, where: str) -> int | None:
    if value is not None and (not isinstance(value, int) or value < 1):
        raise ConfigError(f"seeds in {where} is {value!r}; expected a whole number above 0")
    return value
