"""`pfcli train`: settle what a group of runs is, record it, and train it to the end."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from ..cache.atomic import write_atomic
from ..cache.examples import DatasetInfo, ExampleTable
from ..errors import ConfigError, PlmError
from .candidates import Candidates, candidates, places_of
from .checkpoint import load_checkpoint, save_checkpoint, save_trained
from .data import FusionData, Source, open_sources
from .folds import require_same_draw
from .fusion.methods import FusionMethod, method_named
from .fusion.parameters import count, initial_parameters
from .fusion.prompt import encode_prompt
from .live import LoadLive
from .loop import RunPlan, TrainState, steps_in_all, task_for, train
from .memory import shortage_explained
from .plm.protocol import PLM
from .presets import Preset, Presets
from .runs import (
    CHECKPOINT,
    DEV,
    LOG,
    PROMPT,
    FeatureUse,
    RunRecord,
    library_versions,
    read_record,
    write_records,
)
from .selection import Selection, select
from .settings import RunSettings, TrainSettings
from .shots import draw_dev, draw_shots
from .trained import Description, require_same_plm

_LOSSES_SHOWN = 20  # the progress bar shows the mean of the last ones


def start_runs(
    selection: Selection,
    runs_root: Path,
    plm: PLM,
    settings: TrainSettings,
    *,
    live: LoadLive | None = None,
    presets: Presets | None = None,
) -> list[Path]:
    """Return the folders of newly recorded runs, one a seed; `finish_runs` trains them.

    Args:
        selection: The training split and its features.
        runs_root: Where runs lie.
        plm: The frozen language model.
        settings: What to train.
        live: Gives the encoders that a method trains.
        presets: The set-ups to choose from; None takes the paper's.

    Raises:
        ShotsError: If the data has fewer examples than are to be drawn.
        UnknownName: If there is no such method or preset.
        CacheError: If no example can be trained on.
        PlmError: If the language model can give none of the answers, has fewer positions than the
            prompt has vectors, or no norms to train.
        WidthMismatch: If an encoder's width differs and no fix was chosen.
        ConfigError: If the method does not have what an option varies, or examples are to be set
            aside though the dataset has a split for that.
    """
    usable = candidates(selection, plm)
    sources = open_sources(selection, plm, live)
    dataset, fold = selection.info.name, selection.choice.fold
    part = dataset if fold is None else f"{dataset}-fold{fold}"
    seeds = range(settings.seed, settings.seed + settings.seeds)
    shots = "full" if settings.shots is None else f"{settings.shots}shots"
    records = [
        _record(selection, sources, usable, plm, replace(settings, seed=seed), presets or Presets())
        for seed in seeds
    ]
    trainable = count(_initial_parameters(records[:1], sources, plm))
    records = [replace(record, trainable_parameters=trainable) for record in records]
    stems = [f"{part}-{settings.method}-{shots}-seed{seed}" for seed in seeds]
    return write_records(runs_root, stems, records)


def _record(
    selection: Selection,
    sources: Sequence[Source],
    usable: Candidates,
    plm: PLM,
    settings: TrainSettings,
    presets: Presets,
) -> RunRecord:
    info = selection.info
    table = selection.table.take(usable.indices)
    if settings.data_seed is None:
        settings = replace(settings, data_seed=settings.seed)
    chosen, dev = _drawn(info, table, settings)
    resolved = _resolved(settings, info, sources, plm, presets, examples=len(chosen))
    ids = table.ids
    return RunRecord(
        name="",
        group=[],
        dataset=info.name,
        task=info.task,
        plm=plm.identity,
        features={source.modality: _use(source) for source in sources},
        settings=resolved,
        steps=_steps(resolved, examples=len(chosen)),
        train_examples=len(chosen),
        dropped_examples=usable.without_features,
        unanswerable_examples=usable.unanswerable,
        example_ids=[ids[index] for index in chosen] if settings.shots is not None else None,
        trainable_parameters=0,
        fold_draw=selection.fold_draw,
        dev_ids=None if dev is None else [ids[index] for index in dev],
        versions=library_versions(),
    )


def _resolved(
    settings: TrainSettings,
    info: DatasetInfo,
    sources: Sequence[Source],
    plm: PLM,
    presets: Presets,
    *,
    examples: int,
) -> RunSettings:
    """Return the settings with everything filled in that preset, method and cache decide."""
    fusion = settings.fusion
    few = settings.shots is not None
    name, preset = presets.choose(settings.preset, info.task, few_shot=few)
    preset = preset.training(fusion.method.trained)
    decided = {
        "modalities": tuple(source.modality for source in sources),
        "features": {source.modality: source.features.fingerprint for source in sources},
        "fields": {source.modality: source.field for source in sources},
        "plm": str(plm.identity["source"]),
        "preset": name,
        "prompt_length": _prompt_length(fusion.method, preset, plm, settings),
        "visibility": fusion.visibility,
        "lr_prompt": settings.lr_prompt or preset.lr_prompt,
        "lr_other": settings.lr_other or preset.lr_other,
        "batch_size": min(settings.batch_size or preset.batch_size, examples),
        "epochs": settings.epochs or preset.epochs,
        # a preset's cap on steps belongs to its own epochs
        "max_steps": settings.max_steps or (None if settings.epochs else preset.max_steps),
    }
    return RunSettings(**{**vars(settings), **decided})


def _drawn(
    info: DatasetInfo, table: ExampleTable, settings: TrainSettings
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the indices of the training examples, and of those set aside if any are."""
    labels = [answer or "" for answer in table.answers] if info.labels else None
    sampling, shots, data_seed = settings.shot_sampling, settings.shots, settings.data_seed or 0
    chosen = draw_shots(table.ids, labels, shots=shots, sampling=sampling, data_seed=data_seed)
    if settings.dev is None:
        return chosen, None
    if DEV in info.splits:
        raise ConfigError(
            f"{info.name} has a split {DEV!r} of its own: leave out --dev {settings.dev}, and "
            f"evaluate with --split {DEV}"
        )
    few = None if shots is None else chosen
    dev = draw_dev(table.ids, labels, count=settings.dev, shots=few, data_seed=data_seed)
    return np.setdiff1d(chosen, dev), dev


def _steps(settings: RunSettings, *, examples: int) -> int:
    """Return how many steps resolved settings come to; none where nothing is trained."""
    if not method_named(settings.method).trains:
        return 0
    return steps_in_all(
        examples,
        batch_size=settings.batch_size,
        epochs=settings.epochs,
        max_steps=settings.max_steps,
    )


def _prompt_length(method: FusionMethod, preset: Preset, plm: PLM, settings: TrainSettings) -> int:
    if not method.prompt:
        return 0
    length = settings.prompt_length or preset.prompt_length
    if plm.max_positions is not None and length > plm.max_positions:
        raise PlmError(
            f"prompt_length is {length}, more than the language model's {plm.max_positions} "
            "positions; choose a shorter prompt"
        )
    return length


def _use(source: Source) -> FeatureUse:
    encoder = str(source.features.manifest.identity.get("id"))
    return FeatureUse(source.features.fingerprint, source.field, encoder)


def finish_runs(
    folders: Sequence[Path],
    cache_root: Path,
    plm: PLM,
    *,
    checkpoint_every: int,
    quiet: bool = False,
    after_step: Callable[[], object] | None = None,
    live: LoadLive | None = None,
) -> None:
    """Train recorded runs side by side from their last checkpoint to the end.

    Args:
        folders: The runs of one group, as `start_runs` returned them.
        cache_root: The cache's folder.
        plm: The frozen language model.
        checkpoint_every: Steps between two checkpoints.
        quiet: Show no progress bar.
        after_step: Called after each step and its checkpoint; what it raises ends the training.
        live: Gives the encoders that a method trains.
    """
    records = [read_record(folder) for folder in folders]
    first = records[0]
    require_same_plm(first.name, first.plm, plm)
    settings = first.settings
    selection = select(cache_root, first.dataset, settings.split, settings.inputs)
    require_same_draw(first, selection.fold_draw)
    plans, data = _plans(records, selection, plm, live)
    state = _initial_state(records, data.sources, plm)
    checkpoint = folders[0] / CHECKPOINT
    if checkpoint.is_file():
        load_checkpoint(checkpoint, state)
    elif method_named(settings.method).live:  # its files may change before a resume
        save_checkpoint(checkpoint, state)
    bar = tqdm(
        total=first.steps,
        initial=state.step,
        unit="step",
        desc=f"train {settings.method}",
        disable=True if quiet or first.steps == 0 else None,
    )
    doing = f"{len(records)} runs of {settings.batch_size} examples a step"
    fewer = "train anew with a lower --batch-size or fewer --seeds"
    with bar, shortage_explained(doing, lower=fewer):
        train(
            plm,
            data,
            task_for(plm, selection.info.labels, data.table.answers),
            plans,
            state,
            batch_size=settings.batch_size,
            steps=first.steps,
            on_step=_reporter(bar, checkpoint, checkpoint_every, after_step),
        )
    trained = encode_prompt(state.parameters)
    manifests = {name: features.manifest for name, features in selection.features.items()}
    for index, (folder, record) in enumerate(zip(folders, records, strict=True)):
        _write_log(folder, [losses[index] for losses in state.losses])
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


def _initial_state(records: Sequence[RunRecord], sources: Sequence[Source], plm: PLM) -> TrainState:
    drawn = _initial_parameters(records, sources, plm)
    parameters = {name: tensor.to(plm.device) for name, tensor in drawn.items()}
    settings = records[0].settings
    return TrainState.start(parameters, lr_prompt=settings.lr_prompt, lr_other=settings.lr_other)


def _initial_parameters(
    records: Sequence[RunRecord], sources: Sequence[Source], plm: PLM
) -> dict[str, torch.Tensor]:
    settings = records[0].settings
    return initial_parameters(
        settings.fusion,
        plm,
        [record.settings.seed for record in records],
        prompt_length=settings.prompt_length,
        modalities=list(settings.modalities),
        prompt_init=settings.prompt_init,
        encoders={
            source.modality: source.encoder.weights() for source in sources if source.encoder
        },
    )


def _reporter(
    bar: tqdm, checkpoint: Path, every: int, after_step: Callable[[], object] | None
) -> Callable[[TrainState], None]:
    def report(state: TrainState) -> None:
        bar.update()
        recent = state.losses[-_LOSSES_SHOWN:]
        bar.set_postfix(loss=f"{np.mean(recent):.3f}", refresh=False)
        if state.step % every == 0:
            save_checkpoint(checkpoint, state)
        if after_step is not None:
            after_step()

    return report


def _write_log(folder: Path, losses: Sequence[float]) -> None:
    lines = (json.dumps({"step": step, "loss": loss}) for step, loss in enumerate(losses, start=1))
    write_atomic(folder / LOG, "".join(f"{line}\n" for line in lines))
