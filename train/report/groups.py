"""Runs grouped over their seeds: what is the same, and what sets groups of one table apart.

What makes two runs comparable is taken from their whole resolved settings, the identities of
language model and features, how answers were read, and which examples were scored.
"""

import hashlib
import json
from collections.abc import Callable, Collection, Hashable, Iterable, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, TypeVar

from ...cache.modalities import MODALITIES
from ...tables import Spread
from ..fusion.methods import METHODS
from ..metrics.scoring import MAJORITY
from ..record import deciding
from ..settings import RunSettings, TrainSettings
from .collect import Result
from .paper import VARIED

Item = TypeVar("Item")

_RATES = ("lr_prompt", "lr_other")
_DEFAULTS = {field.name: field.default for field in fields(TrainSettings)}
_LEFT_OPEN = {name for name, default in _DEFAULTS.items() if default is None} - {"plm"}
"""What the preset, the method or the shots decide: compared among groups alike in these."""

_USUAL = {name: _DEFAULTS[name] for name in (*VARIED, "pool", "train_norms")}
_USUAL["prompt_length"] = 20
"""The settings that tables 5 and 6 and the released code vary, at their usual values."""


def compared(result: Result) -> dict[str, Any]:
    """Return all that decides a run's figures, the seeds aside, as flat JSON values."""
    record = result.record
    values = deciding(record) | {
        f"answers {name}": value
        for name, value in result.answering.items()
        if name not in ("batch_size", "plm_dtype")  # the latter is a setting too
    }
    if values.pop("fold") is not None:  # folds differ in their examples
        return values | {"in folds": record.fold_draw}
    scored = f"{result.examples} examples, {result.ids_sha256[:8]}"
    return values | {"train_examples": record.train_examples, "scored": scored}


@dataclass(frozen=True)
class Group:
    """Runs that differ in their seed and their fold alone, the latest of each, in order."""

    results: tuple[Result, ...]

    @property
    def first(self) -> Result:
        """One of them, for what they share."""
        return self.results[0]

    @property
    def method(self) -> str:
        """The method's name."""
        return self.first.settings.method

    @property
    def prompted(self) -> bool:
        """Whether the method has a prompt."""
        return METHODS[self.method].prompt

    @property
    def shots(self) -> str:
        """The number of shots, "full", or "none" where nothing is trained."""
        if not METHODS[self.method].trains:
            return "none"
        return str(self.first.settings.shots or "full")

    @property
    def shots_in_words(self) -> str:
        """The same for people: "8 shots", "full data" or "zero-shot"."""
        return {"none": "zero-shot", "full": "full data"}.get(self.shots, f"{self.shots} shots")

    @property
    def in_folds(self) -> bool:
        """Whether the runs are tested on folds: a protocol of its own."""
        return self.first.settings.fold is not None

    @property
    def trivial(self) -> dict[str, dict[str, Spread]]:
        """The trivial answers' figures by name, over the folds where there are any.

        The folds' training parts can differ in their most frequent answer; then none is marked.
        """
        folds = list({each.settings.fold: each.trivial for each in self.results}.values())
        trivial = {}
        for name in folds[0]:
            same = all(name in fold for fold in folds)
            label = name if same else name.removesuffix(MAJORITY)
            every = [fold.get(label) or fold.get(label + MAJORITY) or {} for fold in folds]
            trivial[label] = {
                column: Spread.of([figures[column] for figures in every])
                for column in every[0]
                if all(column in figures for figures in every)
            }
        return trivial

    @property
    def scored(self) -> dict[int, tuple[int, str]]:
        """How many examples were scored, and the hash of their ids, by fold."""
        return {each.settings.fold or 0: (each.examples, each.ids_sha256) for each in self.results}

    @property
    def examples(self) -> int:
        """How many examples were scored; in folds, in all of them."""
        return sum(count for count, _ in self.scored.values())

    @cached_property
    def settings(self) -> dict[str, Any]:
        """What decides the runs' results, the seed aside, as flat JSON values."""
        values = compared(self.first)
        if self.in_folds:
            digest = hashlib.sha256(json.dumps(self.scored, sort_keys=True).encode()).hexdigest()
            folds = f"{len(self.scored)} fold{'s' * (len(self.scored) > 1)}"
            values["scored"] = f"{self.examples} examples of {folds}, {digest[:8]}"
        return values

    def spread(self, column: str) -> Spread | None:
        """Return a figure over the seeds, or None where a run lacks it."""
        if any(column not in result.values for result in self.results):
            return None
        return Spread.of([result.values[column] for result in self.results])

    @cached_property
    def changed(self) -> dict[str, Any]:
        """Those settings that tables 5 and 6 vary and that are not at their usual value."""
        method = METHODS[self.method]
        usual = {"visibility": method.visibility, **_USUAL} if method.prompt else {}
        for modality in self.first.record.features:
            usual[f"{modality} field"] = MODALITIES[modality].default_field
        own = {name: self.settings[name] for name in usual}
        return {name: value for name, value in own.items() if value != usual[name]}

    @property
    def varied(self) -> str:
        """The same without the prompt's length, in words; empty where nothing is varied."""
        changed = self.changed.items()
        return ", ".join(f"{name} {value}" for name, value in changed if name != "prompt_length")


def grouped(items: Iterable[Item], key: Callable[[Item], Hashable]) -> list[list[Item]]:
    """Return the items of each key together, in the order in which the keys first come."""
    parts: dict[Hashable, list[Item]] = {}
    for item in items:
        parts.setdefault(key(item), []).append(item)
    return list(parts.values())


def group_runs(results: Sequence[Result]) -> list[Group]:
    """Return the runs grouped over seeds and folds; of two with the same the later one counts."""

    def alike(result: Result) -> str:
        decides = [result.record.dataset, result.split, compared(result)]
        return json.dumps(decides, sort_keys=True)

    return [
        Group(_latest(scored))
        for members in grouped(results, alike)
        for drawn in _by_draw(members)
        for scored in _by_scored(drawn)
    ]


def _latest(results: Sequence[Result]) -> tuple[Result, ...]:
    by_seed = {(each.settings.fold or 0, each.settings.seed): each for each in results}
    return tuple(by_seed[seed] for seed in sorted(by_seed))


def _by_draw(results: Sequence[Result]) -> list[list[Result]]:
    """Part runs that draw their examples by one data seed from those that draw by their own.

    A run whose two seeds are the same is of the first kind if any other has its data seed.
    """
    if not all(each.settings.shots or each.settings.dev for each in results):
        return [list(results)]
    own = [each for each in results if each.settings.data_seed == each.settings.seed]
    fixed = sorted(
        {
            each.settings.data_seed
            for each in results
            if each.settings.data_seed != each.settings.seed
        }
    )
    parts = [[each for each in results if each.settings.data_seed == seed] for seed in fixed]
    alone = any(each.settings.data_seed not in fixed for each in own)
    return [own] * alone + parts


def _by_scored(results: Sequence[Result]) -> list[list[Result]]:
    """Part runs of one fold that were scored on other examples than its first."""
    seen: dict[int, list[str]] = {}

    def place(result: Result) -> int:
        hashes = seen.setdefault(result.settings.fold or 0, [])
        if result.ids_sha256 not in hashes:
            hashes.append(result.ids_sha256)
        return hashes.index(result.ids_sha256)

    return grouped(results, place)


def shots_rank(shots: str) -> float:
    """Return where a part stands: nothing trained, few shots, full data."""
    return {"none": -1.0, "full": float("inf")}.get(shots) or float(shots)


def labels_of(groups: Sequence[Group], *, said: Collection[str] = ()) -> list[str]:
    """Return each group's method, with all that sets it apart from the others, of any method.

    What is `said` stands in a column of its own.
    """
    labels = []
    for group in groups:
        visibility = METHODS[group.method].visibility
        usual = _DEFAULTS | {"visibility": visibility, "plm_dtype": RunSettings.plm_dtype}
        marks = [
            f"{name} {value}"
            for name, value in group.settings.items()
            if name not in ("method", *said)
            and (usual.get(name) is None or value != usual[name])
            and any(
                other.settings.get(name, value) != value and _comparable(group, other, name)
                for other in groups
            )
        ]
        labels.append(", ".join([group.method, *marks]))
    return labels


def _comparable(group: Group, other: Group, name: str) -> bool:
    """Return whether two groups should have the same value of a setting."""
    ours, theirs = METHODS[group.method], METHODS[other.method]
    modality, _, kind = name.rpartition(" ")
    if kind == "features":  # an encoder that runs live reads decoded media, a set of their own
        uses = [each.first.record.features.get(modality) for each in (group, other)]
        encoders = {use.encoder for use in uses if use is not None}
        return ours.live == theirs.live or len(encoders) > 1
    if name == "plm identity":
        return group.settings["plm"] == other.settings["plm"]
    if name in _RATES:
        return ours.trained == theirs.trained
    if name == "train_examples" or name in _LEFT_OPEN:
        return (ours.trained, group.shots) == (theirs.trained, other.shots)
    return True
