"""The paper's own grids (tables 2 and 4 to 7) as data, and what of them can be run."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from ...errors import UnknownName
from .grid import GridChoice

_COMPARED = (
    "finetune",  # takes longest: others train beside it
    "noprompt",
    "blackimage",
    "linear",
    "jointproj",
    "promptfuse",
    "blindprompt",
)
_PROMPTS = ("promptfuse", "blindprompt")


@dataclass(frozen=True)
class SweepPreset:
    """One table of the paper as a grid.

    Attributes:
        about: One line for people.
        methods: Those of the table, and where it compares methods all of them.
        few_shots: Whether the table has few-shot parts beside full data.
        axes: The settings that vary.
        variants: Sets of settings of which each run takes one.
        families: The language models that vary, by family.
    """

    about: str
    methods: tuple[str, ...]
    few_shots: bool = False
    axes: Mapping[str, tuple[Any, ...]] | None = None
    variants: tuple[Mapping[str, Any], ...] | None = None
    families: tuple[str, ...] = ()


# Source: section 5; tables 2, 4, 5, 6 and 7.
SWEEPS: dict[str, SweepPreset] = {
    "table2": SweepPreset("VQAv2, every method", _COMPARED, few_shots=True),
    "table4": SweepPreset("MUStARD, every method", _COMPARED, few_shots=True),
    "table5": SweepPreset(
        "prompt length", _PROMPTS, axes={"prompt_length": (5, 10, 20, 40, 60, 80, 100)}
    ),
    "table6": SweepPreset(
        "prompt position, prompt encoder, visual embedding",
        _PROMPTS,
        variants=(
            {},
            {"prompt_position": "middle"},
            {"prompt_position": "end"},
            {"prompt_encoder": "linear"},
            {"prompt_encoder": "lstm"},
            {"fields": {"image": "sequence"}},
            {"fields": {"image": "average"}},
        ),
    ),
    "table7": SweepPreset("language model", _PROMPTS, families=("bart", "bert", "t5")),
}

PLM_BY_FAMILY = {
    "bart": "facebook/bart-base",
    "bert": "google-bert/bert-base-uncased",
    "t5": "google-t5/t5-base",
}
"""The paper's language models (section 4.3)."""

SHOTS: dict[str, tuple[int | None, ...]] = {
    "vqa": (128, 512, None),
    "label": (8, 32, 64, None),
    "text": (None,),
}
"""Few-shot sizes by task (table 8)."""

_SEEDS = {"label": 10}  # table 8; 3 for all else
_SEEDS_OTHERWISE = 3


@dataclass(frozen=True)
class Available:
    """What this version can run, to leave the rest out aloud.

    Attributes:
        methods: Names in `fusion.methods.METHODS`.
        settings: Fields of `TrainSettings`.
        plms: The language model of each family that has an adapter; None takes the default one.
        shots: The dataset's own few-shot sizes, None among them for every example.
        seeds: Its own number of runs a cell.
    """

    methods: Collection[str]
    settings: Collection[str]
    plms: Mapping[str, str | None]
    shots: tuple[int | None, ...] | None = None
    seeds: int | None = None


def sweep_named(name: str) -> SweepPreset:
    """Return the preset called `name`.

    Raises:
        UnknownName: If there is none; the message lists them.
    """
    if name not in SWEEPS:
        raise UnknownName("sweep preset", name, list(SWEEPS))
    return SWEEPS[name]


def preset_grid(
    name: str, *, dataset: str, task: str, available: Available
) -> tuple[GridChoice, list[str]]:
    """Return a preset's grid for a dataset, and a line for each thing that it leaves out.

    Raises:
        UnknownName: If there is no such preset.
    """
    preset = sweep_named(name)
    notes: list[str] = []
    methods = _kept(preset.methods, available.methods, "method", notes)
    families = _kept(preset.families, available.plms, "language model", notes)
    axes = dict(preset.axes or {})
    if families:
        axes["plm"] = tuple(available.plms[family] for family in families)
    variants = tuple(
        one for one in preset.variants or () if _has_settings(one, available.settings, notes)
    )
    shots = (available.shots or SHOTS[task]) if preset.few_shots else (None,)
    seeds = available.seeds or _SEEDS.get(task, _SEEDS_OTHERWISE)
    if available.shots or available.seeds:
        notes.append(
            f"{dataset} has a row in promptfuse.toml: {name} runs as that scales it, with its "
            f"shots, steps and models and {seeds} seeds unless told otherwise"
        )
    return GridChoice(methods, shots, seeds, axes, variants or None), notes


def _kept(
    wanted: tuple[str, ...], there: Collection[str], kind: str, notes: list[str]
) -> tuple[str, ...]:
    left_out = [name for name in wanted if name not in there]
    if left_out:
        notes.append(f"left out, no such {kind} here: {', '.join(left_out)}")
    return tuple(name for name in wanted if name in there)


def _has_settings(variant: Mapping[str, Any], known: Collection[str], notes: list[str]) -> bool:
    missing = [name for name in variant if name not in known]
    if missing:
        words = ", ".join(f"{name} {variant[name]}" for name in missing)
        notes.append(f"left out, no such setting here: {words}")
    return not missing
