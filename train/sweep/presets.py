"""The paper's own grids (tables 2 and 4 to 7) as data."""

from collections.abc import Mapping
from dataclasses import replace

from ...errors import UnknownName
from .grid import GridSettings, Sizes

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
_FULL: Sizes = ("full",)

PLM_BY_FAMILY = {
    "bart": "facebook/bart-base",
    "bert": "google-bert/bert-base-uncased",
    "t5": "google-t5/t5-base",
}
"""The paper's language models (section 4.3)."""

SWEEPS = {
    "table2": GridSettings(_COMPARED),
    "table4": GridSettings(_COMPARED),
    "table5": GridSettings(_PROMPTS, _FULL, set={"prompt_length": (5, 10, 20, 40, 60, 80, 100)}),
    "table6": GridSettings(
        _PROMPTS,
        _FULL,
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
    "table7": GridSettings(_PROMPTS, _FULL, set={"plm": tuple(PLM_BY_FAMILY)}),
}
"""By table; shots that are left open are few shots and all examples, `plm` names families.

Source: section 5; tables 2, 4, 5, 6 and 7.
"""

SHOTS: dict[str, Sizes] = {"vqa": (128, 512, "full"), "label": (8, 32, 64, "full"), "text": _FULL}
"""Few-shot sizes by task (table 8)."""

_SEEDS = {"vqa": 3, "label": 10, "text": 3}  # table 8


def preset_grid(
    name: str,
    *,
    dataset: str,
    task: str,
    shots: Sizes | None = None,
    seeds: int | None = None,
    plms: Mapping[str, str] | None = None,
) -> tuple[GridSettings, list[str]]:
    """Return a preset's grid for a dataset, and a line for each way in which it is not the paper's.

    A dataset may have few-shot sizes, a number of seeds and language models by family of its own.
    """
    if name not in SWEEPS:
        raise UnknownName("sweep preset", name, SWEEPS)
    grid, models, notes = SWEEPS[name], plms or PLM_BY_FAMILY, []
    families = grid.set.get("plm", ())
    if lacking := [family for family in families if family not in models]:
        notes.append(f"left out, no such language model here: {', '.join(lacking)}")
    if families:
        there = tuple(models[family] for family in families if family in models)
        grid = replace(grid, set={"plm": there} if there else {})
    grid = replace(grid, shots=grid.shots or shots or SHOTS[task], seeds=seeds or _SEEDS[task])
    if shots or seeds:
        notes.append(
            f"{dataset} has a row in promptfuse.toml: {name} runs as that scales it, with its "
            f"shots, steps and models and {grid.seeds} seeds unless told otherwise"
        )
    return grid, notes
