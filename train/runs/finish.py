"""Train recorded runs to the end, from wherever they were left."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePath

import numpy as np
from tqdm import tqdm

from ...cache.atomic import write_lines
from ...cache.examples import ExampleTable
from ...errors import RunError
from ...stopping import NEVER, Stop
from ..checkpoint import load_checkpoint, save_checkpoint, save_trained
from ..data import FusionData, Source, open_sources
from ..data.candidates import candidates, places_of, require_same_examples
from ..data.selection import Selection, require_same_draw, select
from ..fusion.methods import method_named
from ..fusion.parameters import encode_prompt
from ..live import LoadLive
from ..loop import task_for, train
from ..plm.frozen import PLM
from ..record import CHECKPOINT, LOG, PROMPT, RunRecord, read_record
from ..state import Run, RunPlan, TrainState
from ..trained import Description, require_same_plm
from .start import drawn_parameters

_LOSSES_SHOWN = 20  # the progress bar shows the mean of the last ones


def finish_runs(
    folders: Sequence[Path],
    cache_root: PurePath,
    plm: PLM,
    *,
    checkpoint_every: int,
    quiet: bool = False,
    after_step: Callable[[], object] | None = None,
    live: LoadLive | None = None,
    stop: Stop = NEVER,
    announce: Callable[[str], object] | None = None,
) -> dict[Path, RunError]:
    """Train recorded runs to the end, side by side, each from its own last checkpoint.

    The runs are of one dataset and alike in all that `sweep.passes.alike` asks for; those that are
    finished stay as they are. Returned is what ended a run before its last step, by its folder: the
    others go on. What `after_step` raises, called after each step and its checkpoints, ends the
    training of all, and `Stopped` does if `stop` asks for it, after checkpoints; `live` gives the
    encoders that a method trains; for `announce` see `loop.train`.
    """
    folders = [folder for folder in folders if not (folder / PROMPT).is_file()]
    if not folders:
        return {}
    records = [read_record(folder) for folder in folders]
    first = records[0]
    selection = select(cache_root, first.dataset, first.settings.split, first.settings.inputs)
    for record in records:
        require_same_plm(record.name, record.plm, plm)
        require_same_draw(record, selection.fold_draw)
    sources = open_sources(selection, plm, live)
    chosen, data = _examples_of(records, selection, sources, plm)
    runs = [
        _started(folder, record, indices, sources, plm)
        for folder, record, indices in zip(folders, records, chosen, strict=True)
    ]
    task = task_for(plm, selection.info.labels, data.table)
    keeper = _Keeper(list(zip(folders, records, runs, strict=True)), selection)
    total, done = sum(run.plan.steps for run in runs), sum(run.state.step for run in runs)
    if not quiet:
        print(f"features: {data.told}", file=sys.stderr)
    hidden, told = True if quiet or total == 0 else None, f"train {first.settings.method}"
    with tqdm(total=total, initial=done, unit="step", desc=told, disable=hidden) as bar:
        keeper.keep_finished()

        def on_step(beside: Sequence[Run]) -> None:
            bar.update(sum(run.state.step for run in runs) - bar.n)
            recent = [run.state.losses[-_LOSSES_SHOWN:] for run in beside]
            bar.set_postfix(loss=f"{np.mean(np.concatenate(recent)):.3f}", refresh=False)
            keeper.keep(checkpoint_every, stop)
            if after_step is not None:
                after_step()

        train(plm, data, task, runs, on_step=on_step, announce=announce)
    return {folder: run.error for folder, _, run in keeper.runs if run.error is not None}


def _started(
    folder: Path, record: RunRecord, indices: np.ndarray, sources: Sequence[Source], plm: PLM
) -> Run:
    """Return a run as its last checkpoint has it, or before its first step."""
    drawn = drawn_parameters(record, sources, plm)
    settings, checkpoint = record.settings, folder / CHECKPOINT
    state = TrainState.start({name: part.to(plm.device) for name, part in drawn.items()}, settings)
    if checkpoint.is_file():
        load_checkpoint(checkpoint, state)
    elif method_named(settings.method).live:  # its files may change before a resume
        save_checkpoint(checkpoint, state)
    return Run(RunPlan(settings.seed, indices, settings.batch_size, record.steps), state)


@dataclass
class _Keeper:
    """What keeps runs on disk as they train.

    Attributes:
        kept: The step up to which each run that is not at its end was kept.
    """

    runs: list[tuple[Path, RunRecord, Run]]
    selection: Selection

    def __post_init__(self) -> None:
        self.kept = [run.state.step for _, _, run in self.runs]

    def keep(self, every: int, stop: Stop) -> None:
        """Write what is at its end, and the checkpoints that are due or, to stop, all."""
        stopped = stop.why is not None and any(run.left for _, _, run in self.runs)
        for at, (folder, _, run) in enumerate(self.runs):
            due = run.state.step // every > self.kept[at] // every
            if run.left and (due or (stopped and run.state.step > self.kept[at])):
                save_checkpoint(folder / CHECKPOINT, run.state)
                self.kept[at] = run.state.step
        self.keep_finished()
        if stopped:
            folder, _, run = next(one for one in self.runs if one[2].left)
            again = f"pfcli train --resume {folder}"
            stop.check(f"after step {run.state.step} of {run.plan.steps}; go on: {again}")

    def keep_finished(self) -> None:
        """Write the losses and the prompt of each run that is at its end."""
        for folder, record, run in self.runs:
            if not (run.left or run.error or (folder / PROMPT).is_file()):
                try:
                    self._write(folder, record, run.state)
                except RunError as error:  # its parameters are no numbers
                    run.error = error

    def _write(self, folder: Path, record: RunRecord, state: TrainState) -> None:
        steps = enumerate(state.losses, start=1)
        write_lines(folder / LOG, ({"step": step, "loss": loss} for step, loss in steps))
        trained = encode_prompt({name: part[None] for name, part in state.parameters.items()})
        features = self.selection.features
        manifests = {name: chosen.manifest for name, chosen in features.items()}
        about = Description.of(record, self.selection.info, manifests)
        own = {name: tensor[0] for name, tensor in trained.items()}
        save_trained(folder / PROMPT, own, asdict(about))
        (folder / CHECKPOINT).unlink(missing_ok=True)


def _examples_of(
    records: Sequence[RunRecord], selection: Selection, sources: Sequence[Source], plm: PLM
) -> tuple[list[np.ndarray], FusionData]:
    """Return where each run's examples are in the data, which holds those of all runs alone.

    An example that one run sees and another is shown a blank for is there twice.
    """
    table, everything = selection.table, candidates(selection, plm).indices
    chosen = [_examples(record, table, everything) for record in records]
    for record, indices in zip(records, chosen, strict=True):
        require_same_examples(record, table.take(indices))
    blank = [record.settings.fusion.method.media == "blank" for record in records]
    places = [indices + len(table) * hidden for indices, hidden in zip(chosen, blank, strict=True)]
    union = np.unique(np.concatenate(places))
    data = FusionData(
        table.take(union % len(table)),
        sources,
        plm,
        records[blank.index(min(blank))].settings.fusion,
        blank=union >= len(table),
    )
    return [np.searchsorted(union, one) for one in places], data


def _examples(record: RunRecord, table: ExampleTable, everything: np.ndarray) -> np.ndarray:
    """Return where a run's training examples are: those drawn, or all that are not set aside."""
    if record.example_ids is not None:
        return places_of(record.example_ids, table, run=record.name)
    return np.setdiff1d(everything, places_of(record.dev_ids or (), table, run=record.name))
