"""Evaluated runs read back from their folders, and grouped over their seeds."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ...cache.atomic import read_lines
from ...cache.modalities import MODALITIES
from ...errors import RunError
from ...tables import Spread
from ..fusion.methods import METHODS
from ..runs import LOG, RunRecord, default_split, evaluations, read_record
from .paper import BASELINE, is_papers_setting

_SEEDWISE = ("name", "group", "seed", "seeds", "data_seed", "example_ids", "dev_ids", "versions")
_NO_RESULT = ("device", "threads", "checkpoint_every")
_SAID_OTHERWISE = ("settings", "modalities", "fields")
_MARK = " (majority)"
_DERIVED = (
    "task",
    "train_examples",
    "dropped_examples",
    "unanswerable_examples",
    "steps",
    "trainable_parameters",
)


@dataclass(frozen=True)
class Result:
    """One run evaluated on one split.

    Attributes:
        folder: The run's.
        record: What it was made with.
        split: The split that was answered.
        values: Its figures, in percent.
        columns: The figures that belong in a table.
        headline: The one to compare by.
        examples: How many examples were scored.
        trivial: The trivial answers' figures, by name.
    """

    folder: Path
    record: RunRecord
    split: str
    values: Mapping[str, float]
    columns: tuple[str, ...]
    headline: str
    examples: int
    trivial: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class Group:
    """Runs that differ in their seed and their fold alone, the latest of each.

    Attributes:
        results: In the order of their folds and seeds.
    """

    results: tuple[Result, ...]

    @property
    def first(self) -> Result:
        """One of them, for what they share."""
        return self.results[0]

    @property
    def method(self) -> str:
        """The method's name."""
        return self.first.record.settings.method

    @property
    def shots(self) -> str:
        """The number of shots, "full", or "none" where nothing is trained."""
        if not METHODS[self.method].trains:
            return "none"
        shots = self.first.record.settings.shots
        return "full" if shots is None else str(shots)

    @property
    def shots_in_words(self) -> str:
        """The same for people: "8 shots", "full data" or "zero-shot"."""
        return {"none": "zero-shot", "full": "full data"}.get(self.shots, f"{self.shots} shots")

    @property
    def in_folds(self) -> bool:
        """Whether the runs are tested on folds: a protocol of its own."""
        return self.first.record.settings.fold is not None

    @property
    def papers_setting(self) -> bool:
        """Whether the paper's figures can stand beside these runs'."""
        return is_papers_setting(self.first.record, self.first.split)

    @property
    def trivial(self) -> dict[str, Mapping[str, float | Spread]]:
        """The trivial answers' figures by name; in folds, over the folds.

        The folds' training parts can differ in their most frequent answer; then none is marked.
        """
        if not self.in_folds:
            return dict(self.first.trivial)
        folds = list({one.record.settings.fold: one.trivial for one in self.results}.values())
        found: dict[str, Mapping[str, float | Spread]] = {}
        for name in folds[0]:
            same = all(name in fold for fold in folds)
            label = name if same else name.removesuffix(_MARK)
            every = [_of_either(fold, label) for fold in folds]
            found[label] = {
                column: Spread.of([one[column] for one in every])
                for column in every[0]
                if all(column in one for one in every)
            }
        return found

    @property
    def settings(self) -> dict[str, Any]:
        """What decides the runs' results, the seed aside, as flat JSON values."""
        return _flat(self.first.record)

    def key_without(self, *names: str) -> str:
        """Return a text that groups share which differ in these settings at most."""
        kept = {name: one for name, one in self.settings.items() if name not in names + _DERIVED}
        return json.dumps(kept, sort_keys=True)

    def spread(self, column: str) -> Spread | None:
        """Return a figure over the seeds, or None where a run lacks it."""
        if any(column not in result.values for result in self.results):
            return None
        return Spread.of([result.values[column] for result in self.results])

    def changed(self) -> dict[str, Any]:
        """Return those settings that tables 5 and 6 vary and that are not at their usual value."""
        settings = self.settings
        usual: dict[str, Any] = {}
        if METHODS[self.method].prompt:
            usual = {"visibility": METHODS[self.method].visibility, **BASELINE}
        usual |= {
            f"{modality} field": MODALITIES[modality].default_field
            for modality in self.first.record.features
        }
        return {
            name: settings[name]
            for name, value in usual.items()
            if name in settings and settings[name] != value
        }


def read_results(
    folders: Iterable[Path], *, split: str | None = None
) -> tuple[list[Result], list[str]]:
    """Return the evaluated runs among `folders`, and the names of those that are not evaluated.

    Args:
        folders: The runs'.
        split: Read the figures on this one; by default on the test split, or what else there is.

    Raises:
        RunError: If a run's record or figures are not of this version.
    """
    results, unevaluated = [], []
    for folder in folders:
        record = read_record(folder)
        found = _evaluation(folder, record, split)
        if found is None:
            unevaluated.append(folder.name)
        else:
            results.append(found)
    return results, unevaluated


def _evaluation(folder: Path, record: RunRecord, split: str | None) -> Result | None:
    paths = evaluations(folder)
    if split is None and paths:
        split = default_split(record.task, paths)
    if split is None or split not in paths:
        return None
    try:
        summary = json.loads(paths[split].read_text(encoding="utf-8"))
        metrics = summary["metrics"]
        if metrics is None:
            return None
        return Result(
            folder=folder,
            record=record,
            split=split,
            values=metrics["values"],
            columns=tuple(metrics["columns"]),
            headline=metrics["headline"],
            examples=metrics["examples"],
            trivial={name: one["values"] for name, one in summary["trivial"].items()},
        )
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise RunError(
            f"{paths[split]} holds no figures of this version ({error!r}); "
            f"evaluate the run again: pfcli eval {folder.name}"
        ) from error


def group_runs(results: Sequence[Result]) -> list[Group]:
    """Return the runs grouped over seeds and folds; of two with the same the later one counts."""
    found: dict[str, dict[tuple[int, int], Result]] = {}
    for result in results:
        by_seed = found.setdefault(_group_key(result), {})
        settings = result.record.settings
        by_seed[settings.fold or 0, settings.seed] = result
    return [Group(tuple(one for _, one in sorted(seeds.items()))) for seeds in found.values()]


def _of_either(trivial: Mapping[str, Mapping[str, float]], name: str) -> Mapping[str, float]:
    """Return a trivial answer's figures, whether it is marked as the most frequent or not."""
    return trivial.get(name) or trivial.get(name + _MARK) or {}


def _group_key(result: Result) -> str:
    record = result.record
    settings = record.settings
    draw = "own" if settings.data_seed == settings.seed else settings.data_seed
    values = _flat(record)
    if settings.fold is not None:  # folds can differ in their size by one
        values = {name: one for name, one in values.items() if name not in _DERIVED}
    return json.dumps([values, result.split, draw], sort_keys=True)


def _flat(record: RunRecord) -> dict[str, Any]:
    left_out = (*_SEEDWISE, *_NO_RESULT, *_SAID_OTHERWISE)
    said = {**asdict(record.settings), **asdict(record)}
    values = {name: value for name, value in said.items() if name not in left_out}
    values["train_split"] = values.pop("split")
    values["dev"] = len(record.dev_ids or ())
    values["in folds"] = values.pop("fold") is not None
    plm, features = values.pop("plm"), values.pop("features")
    values["plm"] = _short_name(str(plm.get("id") or plm.get("source")))
    values["plm weights"] = plm.get("weights_sha256")
    for modality, use in features.items():
        values[f"{modality} field"] = use["field"]
        values[f"{modality} features"] = use["fingerprint"]
    return values


def _short_name(source: str) -> str:
    return source.rstrip("/").rsplit("/", 1)[-1]


def labels_of(groups: Sequence[Group]) -> list[str]:
    """Return each group's method, with whatever sets it apart from its like among `groups`."""
    return [_label(group, groups) for group in groups]


def _label(group: Group, groups: Sequence[Group]) -> str:
    settings = group.settings
    like = [
        other.settings
        for other in groups
        if (other.method, other.shots) == (group.method, group.shots)
    ]
    differing = [
        name
        for name, value in settings.items()
        if name not in _DERIVED and any(other.get(name) != value for other in like)
    ]
    return ", ".join([group.method, *(f"{name} {settings[name]}" for name in differing)])


def read_losses(folder: Path) -> list[float]:
    """Return a run's training loss at each step; empty where nothing was trained."""
    return [float(line["loss"]) for line in read_lines(folder / LOG)]
