"""Train recorded runs to the end, from wherever they were left."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path, PurePath

import numpy as np
from tqdm import tqdm

from ...cache.atomic import write_lines
from ...cache.examples import ExampleTable
from ...memory import shortage_explained
from ...stopping import NEVER, Stop
from ..checkpoint import load_checkpoint, save_checkpoint, save_trained
from ..data import FusionData, open_sources
from ..data.candidates import candidates, places_of, require_same_examples
from ..data.selection import Selection, require_same_draw, select
from ..fusion.methods import method_named
from ..fusion.parameters import encode_prompt
from ..live import LoadLive
from ..loop import RunPlan, TrainState, task_for, train
from ..plm.frozen import PLM
from ..record import CHECKPOINT, LOG, PROMPT, RunRecord, read_record
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
) -> None:
    """Train recorded runs of one group side by side from their last checkpoint to the end.

    What `after_step` raises, called after each step and its checkpoint, ends the training, and
    `Stopped` does if `stop` asks for it, after a checkpoint; `live` gives the encoders that a
    method trains.
    """
    records = [read_record(folder) for folder in folders]
    first = records[0]
    require_same_plm(first.name, first.plm, plm)
    settings = first.settings
    selection = select(cache_root, first.dataset, settings.split, settings.inputs)
    require_same_draw(first, selection.fold_draw)
    plans, data = _plans(records, selection, plm, live)
    drawn = drawn_parameters(records, data.sources, plm)
    state = TrainState.start({name: part.to(plm.device) for name, part in drawn.items()}, settings)
    checkpoint = folders[0] / CHECKPOINT
    if checkpoint.is_file():
        load_checkpoint(checkpoint, state)
    elif method_named(settings.method).live:  # its files may change before a resume
        save_checkpoint(checkpoint, state)
    if not quiet:
        print(f"features: {data.told}", file=sys.stderr)
    hidden, told = True if quiet or first.steps == 0 else None, f"train {settings.method}"
    bar = tqdm(total=first.steps, initial=state.step, unit="step", desc=told, disable=hidden)
    doing = f"{len(records)} runs of {settings.batch_size} examples a step"
    fewer = "train anew with a lower --batch-size or fewer --seeds"
    with bar, shortage_explained(doing, lower=fewer):
        train(
            plm,
            data,
            task_for(plm, selection.info.labels, data.table),
            plans,
            state,
            batch_size=settings.batch_size,
            steps=first.steps,
            on_step=_reporter(bar, checkpoint, checkpoint_every, after_step, stop),
        )
    trained = encode_prompt(state.parameters)
    manifests = {name: features.manifest for name, features in selection.features.items()}
    for index, (folder, record) in enumerate(zip(folders, records, strict=True)):
        steps = enumerate((losses[index] for losses in state.losses), start=1)
        write_lines(folder / LOG, ({"step": step, "loss": loss} for step, loss in steps))
        own = {name: tensor[index] for name, tensor in trained.items()}
        about = Description.of(record, selection.info, manifests)
        save_trained(folder / PROMPT, own, asdict(about))
    checkpoint.unlink(missing_ok=True)


def _plans(
    records: Sequence[RunRecord], selection: Selection, plm: PLM, live: LoadLive | None
) -> tuple[list[RunPlan], FusionData]:
    """Return each run's examples and the data that holds those of all runs and no others."""
    everything = candidates(selection, plm).indices
    chosen = [_examples(record, selection.table, everything) for record in records]
    for record, indices in zip(records, chosen, strict=True):
        require_same_examples(record, selection.table.take(indices))
    union = np.unique(np.concatenate(chosen))
    sources = open_sources(selection, plm, live)
    data = FusionData(selection.table.take(union), sources, plm, records[0].settings.fusion)
    plans = [
        RunPlan(record.settings.seed, np.searchsorted(union, indices))
        for record, indices in zip(records, chosen, strict=True)
    ]
    return plans, data


def _examples(record: RunRecord, table: ExampleTable, everything: np.ndarray) -> np.ndarray:
    """Return where a run's training examples are: those drawn, or all that are not set aside."""
    if record.example_ids is not None:
        return places_of(record.example_ids, table, run=record.name)
    return np.setdiff1d(everything, places_of(record.dev_ids or (), table, run=record.name))


def _reporter(
    bar: tqdm,
    checkpoint: Path,
    every: int,
    after_step: Callable[[], object] | None,
    stop: Stop,
) -> Callable[[TrainState], None]:
    def report(state: TrainState) -> None:
        bar.update()
        recent = np.mean(state.losses[-_LOSSES_SHOWN:])
        bar.set_postfix(loss=f"{recent:.3f}", refresh=False)
        stopped = stop.why is not None and state.step < bar.total
        if stopped or state.step % every == 0:
            save_checkpoint(checkpoint, state)
        if stopped:
            again = f"pfcli train --resume {checkpoint.parent}"
            stop.check(f"after step {state.step} of {bar.total}; go on: {again}")
        if after_step is not None:
            after_step()

    return report
