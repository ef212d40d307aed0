"""What to type next: commands that work in the same folder, made of a run's own record."""

import shlex
from collections.abc import Collection, Mapping
from dataclasses import asdict, replace
from itertools import chain
from pathlib import Path
from typing import Any

from ..cache.modalities import MODALITIES
from ..errors import PromptFuseError
from ..pretrained import device_named, dtype_on
from ..settings import declared
from ..train.fusion.methods import METHODS
from ..train.record import RunRecord, evaluations
from ..train.settings import NOT_A_RESULT, TrainSettings, idle
from .workspace import SECTIONS, ConfigFile, Workspace

_OF_ALL = {"shots", "shot_sampling", "data_seed", "seed", "preset", "batch_size", "epochs"}
_INPUTS = {"modalities", "features", "fields"}


def command(workspace: Workspace, name: str, *arguments: str) -> str:
    """Return a command as it is typed, with a workspace's folders that are not the usual ones."""
    told = ConfigFile.read(Path()).workspace()
    moved = (
        (f"--{place.replace('_', '-')}", str(getattr(workspace, place)))
        for place in SECTIONS[name].places
        if place not in ("dataset", "data") and getattr(workspace, place) != getattr(told, place)
    )
    return shlex.join(["pfcli", name, *arguments, *chain(*moved)])


def training(
    workspace: Workspace, record: RunRecord, *, method: str, all_shots: bool = False
) -> str:
    """Return the command that trains a method, a run's own or another, as the run was trained.

    With `all_shots` it trains on all examples and all that the cache holds of them.
    """
    values = _chosen(workspace, record, method, _OF_ALL | _INPUTS if all_shots else ())
    options = chain(*(_option(name, value) for name, value in values.items()))
    return command(workspace, "train", "--dataset", record.dataset, "--method", method, *options)


def sweeping(workspace: Workspace, record: RunRecord, *arguments: str) -> str:
    """Return the command that sweeps over a run's method on all examples, its settings kept."""
    method = record.settings.method
    values = _chosen(workspace, record, method, _OF_ALL | {"lr_prompt", "dev"})
    options = chain(*(("--set", f"{name}={_in_grid(value)}") for name, value in values.items()))
    given = ("--dataset", record.dataset, "--method", method, *options, *arguments)
    return command(workspace, "sweep", *given)


def evaluation(workspace: Workspace, folder: Path) -> str:
    """Return the command that evaluates a run."""
    return command(workspace, "eval", folder.name)


def showing(workspace: Workspace, folder: Path) -> str:
    """Return what shows a run on the report's page, which shows runs that are evaluated."""
    page = command(workspace, "report", "--format", "html")
    return page if evaluations(folder) else f"{evaluation(workspace, folder)} && {page}"


def _chosen(
    workspace: Workspace, record: RunRecord, method: str, left_out: Collection[str]
) -> dict[str, Any]:
    """Return the settings of a run that training there would not take by itself."""
    settings = record.settings
    file = ConfigFile.read(Path()).settings("train", TrainSettings)
    usual = _usual(workspace, record, file)
    unused = {*NOT_A_RESULT, *left_out, *idle(method), "method", "seeds"}
    if method != settings.method:  # what says nothing with the run's own method is not its choice
        unused |= {"visibility", *idle(settings.method)}
    if settings.max_steps is None and usual["max_steps"] is not None:  # epochs alone lift the cap
        usual["epochs"] = None
    chosen = {
        name: value
        for name, value in vars(settings).items()
        if name not in unused and value is not None and value != usual[name]
    }
    for name in ("features", "fields"):
        if name in chosen:
            pairs = chosen[name].items()
            chosen[name] = {key: value for key, value in pairs if usual[name].get(key) != value}
    return chosen


def _usual(workspace: Workspace, record: RunRecord, file: TrainSettings) -> dict[str, Any]:
    """Return the settings that training takes there, by the file, the preset and the cache."""
    settings, presets = record.settings, workspace.presets_of(record.dataset)
    made, few = METHODS[settings.method], settings.shots is not None
    _, preset = presets.choose(settings.preset, record.task, few_shot=few)
    decided = asdict(preset.training(made.trained)) | {
        "preset": presets.choose(None, record.task, few_shot=few)[0],
        "plm": workspace.row(record.dataset).plm_for(),
        "visibility": made.visibility,
        "data_seed": settings.seed,
        **_inputs(workspace, record, file),
    }
    decided["batch_size"] = min(preset.batch_size, record.train_examples)
    usual = {name: value or decided.get(name, value) for name, value in vars(file).items()}
    if file.plm_dtype == "auto":
        dtype = dtype_on(device_named(file.device), "auto")
        usual["plm_dtype"] = str(dtype).removeprefix("torch.")
    return usual


def _inputs(workspace: Workspace, record: RunRecord, file: TrainSettings) -> dict[str, Any]:
    """Return the modalities, features and fields that a run's kind of method finds by itself."""
    from ..train.data.selection import select  # torch, which most commands do without

    own = record.settings
    asked = replace(file.inputs, live=own.inputs.live, fold=own.fold, width_fix=own.width_fix)
    try:
        found = select(workspace.cache, record.dataset, own.split, asked).features
    except PromptFuseError:  # such as several sets of one modality: they are to be named
        return {"features": {}, "fields": {}}
    fields = {name: MODALITIES[name].default_field for name in found}
    return {
        "modalities": tuple(found),
        "features": {name: features.fingerprint for name, features in found.items()},
        "fields": own.fields if own.inputs.live else fields,
    }


def _option(name: str, value: Any) -> list[str]:
    flag = next(told.flag(name) for known, _, told in declared(TrainSettings) if known == name)
    if isinstance(value, Mapping):
        return [*chain(*((flag, f"{key}={held}") for key, held in value.items()))]
    if isinstance(value, bool):
        return [flag]
    return [flag, ",".join(value) if isinstance(value, tuple) else str(value)]


def _in_grid(value: Any) -> str:
    if isinstance(value, Mapping):
        return "+".join(f"{key}:{held}" for key, held in value.items())
    return "+".join(value) if isinstance(value, tuple) else str(value).lower()
