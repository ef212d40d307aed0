"""Settle what a group of runs is, and record it."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from ...cache.examples import DatasetInfo, ExampleTable
from ...errors import ConfigError, PlmError
from ..data import Source, open_sources
from ..data.candidates import Candidates, candidates, draw_dev, draw_shots, examples_sha256
from ..data.selection import Selection
from ..fusion.parameters import initial_parameters
from ..live import LoadLive
from ..loop import steps_in_all
from ..plm.frozen import PLM
from ..presets import Presets
from ..record import DEV, FeatureUse, RunRecord, library_versions
from ..settings import RunSettings, TrainSettings
from .folders import write_records


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

    `live` gives the encoders that a method trains; without `presets` the paper's are taken.
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
    drawn = drawn_parameters(records[0], sources, plm)
    trainable = sum(tensor.numel() for tensor in drawn.values())
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
    """Return a run's record without the folders' names and the count of parameters."""
    info, table = selection.info, selection.table.take(usable.indices)
    if settings.data_seed is None:
        settings = replace(settings, data_seed=settings.seed)
    chosen, dev = _drawn(info, table, settings)
    resolved = _resolved(settings, info, sources, plm, presets, examples=len(chosen))
    size, epochs, cap = resolved.batch_size, resolved.epochs, resolved.max_steps
    steps = steps_in_all(len(chosen), batch_size=size, epochs=epochs, max_steps=cap)
    modalities = [source.modality for source in sources]
    return RunRecord(
        name="",
        group=[],
        dataset=info.name,
        task=info.task,
        plm=plm.identity,
        features={
            source.modality: FeatureUse(
                source.features.manifest.first_fingerprint,
                source.field,
                str(source.features.manifest.identity.get("id")),
            )
            for source in sources
        },
        settings=resolved,
        steps=steps if settings.fusion.method.trains else 0,
        train_examples=len(chosen),
        examples_sha256=examples_sha256(table.take(chosen), modalities),
        dropped_examples=usable.without_features,
        unanswerable_examples=usable.unanswerable,
        example_ids=table.take(chosen).ids if settings.shots is not None else None,
        trainable_parameters=0,
        fold_draw=selection.fold_draw,
        dev_ids=None if dev is None else table.take(dev).ids,
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
    length = (settings.prompt_length or preset.prompt_length) if fusion.method.prompt else 0
    if plm.max_positions is not None and length > plm.max_positions:
        raise PlmError(
            f"prompt_length is {length}, more than the language model's {plm.max_positions} "
            "positions; choose a shorter prompt"
        )
    decided = {
        "modalities": tuple(source.modality for source in sources),
        "features": {
            source.modality: source.features.manifest.first_fingerprint for source in sources
        },
        "fields": {source.modality: source.field for source in sources},
        "plm": str(plm.identity["source"]),
        "plm_dtype": str(plm.dtype).removeprefix("torch."),
        "preset": name,
        "prompt_length": length,
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
    ids = table.column("id")
    chosen = draw_shots(ids, labels, shots=shots, sampling=sampling, data_seed=data_seed)
    if settings.dev is None:
        return chosen, None
    if DEV in info.splits:
        raise ConfigError(
            f"{info.name} has a split {DEV!r} of its own: leave out --dev {settings.dev}, and "
            f"evaluate with --split {DEV}"
        )
    few = None if shots is None else chosen
    dev = draw_dev(ids, labels, count=settings.dev, shots=few, data_seed=data_seed)
    return np.setdiff1d(chosen, dev), dev


def drawn_parameters(
    record: RunRecord, sources: Sequence[Source], plm: PLM
) -> dict[str, torch.Tensor]:
    """Return what a run starts from, float32."""
    settings = record.settings
    drawn = initial_parameters(
        settings.fusion,
        plm,
        [settings.seed],
        prompt_length=settings.prompt_length,
        modalities=list(settings.modalities),
        prompt_init=settings.prompt_init,
        encoders={
            source.modality: source.encoder.weights() for source in sources if source.encoder
        },
    )
    return {name: tensor[0] for name, tensor in drawn.items()}
