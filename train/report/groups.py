"""Runs grouped over their seeds: what is the same, and what sets groups of one table apart.

What makes two runs comparable is taken from their whole resolved settings, the identities of
language model and features, how answers were read, and which examples were scored.
"""

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from ...cache.modalities import MODALITIES
from ...tables import Spread
from ..fusion.methods import METHODS
from ..metrics.scoring import MAJORITY
from ..record import deciding
from ..settings import TrainSettings
from .collect import Result
from .paper import DOCUMENTED, VARIED, is_papers_setting

_RATES = ("lr_prompt", "lr_other")
_DEFAULTS = {field.name: field.default for field in fields(TrainSettings)}
_LEFT_OPEN = {name for name, default in _DEFAULTS.items() if default is None} - {"plm"}
"""What the preset, the method or the shots decide: compared among groups alike in these."""

_USUAL = {name: _DEFAULTS[name] for name in (*VARIED, "pool", "train_norms")} | {
    "prompt_length": 20
}
"""The settings that tables 5 and 6 and the released code vary, at their usual values."""


def compared(result: Result) -> dict[str, Any]:
    """Return all that decides a run's figures, the seeds aside, as flat JSON values."""
    record = result.record
    values = deciding(record)
    in_folds = values.pop("fold") is not None
    for name, value in result.answering.items():
        if name not in ("batch_size", "plm_dtype"):  # the latter is a setting above
            values[f"answers {name}"] = value
    if in_folds:  # folds differ in their examples
        return values | {"in folds": record.fold_draw}
    scored = f"{result.examples} examples, {result.ids_sha256[:8]}"
    return values | {"train_examples": record.train_examples, "scored": scored}


def _digest(values: Mapping[Any, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:8]


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
        return is_papers_setting(self.first)

    @property
    def trivial(self) -> dict[str, Mapping[str, float | Spread]]:
        """The trivial answers' figures by name; in folds, over the folds.

        The folds' training parts can differ in their most frequent answer; then none is marked.
        """
        if not self.in_folds:
            return dict(self.first.trivial)
        folds = list({each.record.settings.fold: each.trivial for each in self.results}.values())
        trivial: dict[str, Mapping[str, float | Spread]] = {}
        for name in folds[0]:
            same = all(name in fold for fold in folds)
            label = name if same else name.removesuffix(MAJORITY)
            every = [_of_either(fold, label) for fold in folds]
            trivial[label] = {
                column: Spread.of([figures[column] for figures in every])
                for column in every[0]
                if all(column in figures for figures in every)
            }
        return trivial

    @property
    def scored(self) -> dict[int, tuple[int, str]]:
        """How many examples were scored, and the hash of their ids, by fold."""
        return {
            each.record.settings.fold or 0: (each.examples, each.ids_sha256)
            for each in self.results
        }

    @property
    def examples(self) -> int:
        """How many examples were scored; in folds, in all of them."""
        return sum(count for count, _ in self.scored.values())

    @property
    def folds(self) -> int:
        """On how many folds the runs are tested."""
        return len(self.scored)

    @property
    def settings(self) -> dict[str, Any]:
        """What decides the runs' results, the seed aside, as flat JSON values."""
        values = compared(self.first)
        if self.in_folds:
            folds = f"{self.folds} fold{'s' if self.folds > 1 else ''}"
            values["scored"] = f"{self.examples} examples of {folds}, {_digest(self.scored)}"
        return values

    def spread(self, column: str) -> Spread | None:
        """Return a figure over the seeds, or None where a run lacks it."""
        if any(column not in result.values for result in self.results):
            return None
        return Spread.of([result.values[column] for result in self.results])

    def changed(self) -> dict[str, Any]:
        """Return those settings that tables 5 and 6 vary and that are not at their usual value."""
        settings, method = self.settings, METHODS[self.method]
        usual = {"visibility": method.visibility, **_USUAL} if method.prompt else {}
        for modality in self.first.record.features:
            usual[f"{modality} field"] = MODALITIES[modality].default_field
        return {name: settings[name] for name, value in usual.items() if settings[name] != value}

    @property
    def varied(self) -> str:
        """The same without the prompt's length, in words; empty where nothing is varied."""
        changed = self.changed().items()
        return ", ".join(f"{name} {value}" for name, value in changed if name != "prompt_length")

    def papers_choices(self) -> list[str]:
        """Return whose choice each setting is in which the paper's text and its code differ."""
        applies = {
            "prompt_init": METHODS[self.method].prompt,
            "shot_sampling": self.shots not in ("none", "full"),
        }
        return [
            f"{name} {self.settings[name]} (the paper's {whose[self.settings[name]]})"
            for name, whose in DOCUMENTED.items()
            if applies[name]
        ]


def _of_either(trivial: Mapping[str, Mapping[str, float]], name: str) -> Mapping[str, float]:
    """Return a trivial answer's figures, whether it is marked as the most frequent or not."""
    return trivial.get(name) or trivial.get(name + MAJORITY) or {}


def group_runs(results: Sequence[Result]) -> list[Group]:
    """Return the runs grouped over seeds and folds; of two with the same the later one counts."""
    alike: dict[str, list[Result]] = {}
    for result in results:
        key = json.dumps([result.record.dataset, result.split, compared(result)], sort_keys=True)
        alike.setdefault(key, []).append(result)
    return [
        Group(_latest(scored))
        for members in alike.values()
        for drawn in _by_draw(members)
        for scored in _by_scored(drawn)
    ]


def _latest(results: Iterable[Result]) -> tuple[Result, ...]:
    by_seed = {}
    for result in results:
        settings = result.record.settings
        by_seed[settings.fold or 0, settings.seed] = result
    return tuple(result for _, result in sorted(by_seed.items()))


def _by_draw(results: Sequence[Result]) -> list[list[Result]]:
    """Part runs that draw their examples by one data seed from those that draw by their own.

    A run whose two seeds are the same is of the first kind if any other has its data seed.
    """
    draws = all(result.record.settings.shots or result.record.settings.dev for result in results)
    if not draws:
        return [list(results)]
    fixed = {
        result.record.settings.data_seed
        for result in results
        if result.record.settings.data_seed != result.record.settings.seed
    }
    own = [r for r in results if r.record.settings.data_seed == r.record.settings.seed]
    parts = [[r for r in results if r.record.settings.data_seed == seed] for seed in sorted(fixed)]
    alone = [r for r in own if r.record.settings.data_seed not in fixed]
    return ([own] if alone else []) + parts


def _by_scored(results: Sequence[Result]) -> list[list[Result]]:
    """Part runs of one fold that were scored on other examples than its first."""
    seen: dict[int, list[str]] = {}
    parts: dict[int, list[Result]] = {}
    for result in results:
        hashes = seen.setdefault(result.record.settings.fold or 0, [])
        if result.ids_sha256 not in hashes:
            hashes.append(result.ids_sha256)
        parts.setdefault(hashes.index(result.ids_sha256), []).append(result)
    return list(parts.values())


def shots_rank(shots: str) -> float:
    """Return where a part stands: nothing trained, few shots, full data."""
    return {"none": -1.0, "full": float("inf")}.get(shots) or float(shots)


def labels_of(groups: Sequence[Group], *, said: Iterable[str] = ()) -> list[str]:
    """Return each group's method, with all that sets it apart from the others, of any method.

    Args:
        groups: Those of one table.
        said: Settings that the table has in a column of their own.
    """
    return [_label(group, groups, {"method", *said}) for group in groups]


def _label(group: Group, groups: Sequence[Group], said: Collection[str]) -> str:
    usual = _DEFAULTS | {"visibility": METHODS[group.method].visibility}
    marks = [
        f"{name} {value}"
        for name, value in group.settings.items()
        if name not in said
        and (usual.get(name) is None or value != usual[name])
        and any(other.settings.get(name, value) != value for other in _like(group, groups, name))
    ]
    return ", ".join([group.method, *marks])


def _like(group: Group, groups: Sequence[Group], name: str) -> list[Group]:
    """Return the groups whose value of a setting should be this group's."""

    def trains(other: Group) -> tuple[str, str]:
        return METHODS[other.method].trained, other.shots

    modality, _, kind = name.rpartition(" ")
    if kind == "features":  # an encoder that runs live reads decoded media, a set of their own
        return [other for other in groups if _features_compare(group, other, modality)]
    if name == "plm identity":
        return [other for other in groups if other.settings["plm"] == group.settings["plm"]]
    if name in _RATES:
        return [other for other in groups if trains(other)[0] == trains(group)[0]]
    if name == "train_examples" or name in _LEFT_OPEN:
        return [other for other in groups if trains(other) == trains(group)]
    return list(groups)


def _features_compare(group: Group, other: Group, modality: str) -> bool:
    """Return whether two groups read the same kind of features, or those of other encoders."""
    ours, theirs = group.first.record.features[modality], other.first.record.features.get(modality)
    same_kind = METHODS[group.method].live == METHODS[other.method].live
    return same_kind or theirs is None or ours.encoder != theirs.encoder
