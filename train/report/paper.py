"""The paper's own figures, shipped beside this file, and which runs they are comparable with.

Source: tables 1, 2 and 4 to 7 of https://arxiv.org/abs/2203.08055.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from ...tables import Spread
from ..fusion.methods import METHODS
from ..presets import PRESETS
from ..record import RunRecord
from ..settings import RunSettings
from .collect import Result

METHODS_IN_ORDER = (
    "noprompt",
    "finetune",
    "linear",
    "jointproj",
    "blackimage",
    "promptfuse",
    "blindprompt",
)
"""The methods as the paper's tables list them; `noprompt` stands before, as it trains nothing."""

BASELINE: dict[str, Any] = {
    "prompt_length": 20,
    "prompt_position": "start",
    "prompt_encoder": "none",
    "pool": "after-norm",
    "train_norms": False,
}
"""The settings that tables 5 and 6 and the released code vary, at their usual values."""

_RUNS = {"vqa": 3, "label": 10}
_MAIN = {
    "vqa": "table2_vqav2_val_accuracy_mean_std_3_runs",
    "label": "table4_mustard_test_mean_std_10_runs",
}
_DATASETS = {"vqa": "vqav2", "label": "mustard"}
_SPLITS = {"vqa": "val", "label": "test"}
_BOTH_ENCODERS = "180M"
_PLMS = ("bart-base", "t5-base", "bert-base-uncased", "bert-base-cased")
_ENCODERS = ("vit-base-patch16-224-in21k", "wav2vec2-base-960h")

_EXAMPLES = {"vqa": 214_354, "label": 356}
_VARIED = ("prompt_length", "prompt_position", "prompt_encoder")
_FREE = dict.fromkeys(
    (
        *("seed", "seeds", "data_seed", "device", "threads", "checkpoint_every"),
        *("plm", "features", "fields", "modalities"),  # compared by what they name
        *("prompt_init", "shot_sampling"),  # its text and its code differ in these
    )
)

Figures = dict[str, Spread]


@cache
def paper_results() -> dict[str, Any]:
    """Return all of the paper's figures."""
    path = Path(__file__).with_name("paper_results.json")
    return json.loads(path.read_text(encoding="utf-8"))


def is_papers_setting(result: Result) -> bool:
    """Return whether a run is the paper's own setting in all but seeds and what tables 5-6 vary.

    Its data, split, models and inputs are the paper's, and its resolved settings are what the
    paper's preset for the task and the shots comes to.

    Source: section 4, table 8.
    """
    record, settings = result.record, result.record.settings
    encoders = [use.encoder for use in record.features.values()]
    source = str(record.plm.get("id") or record.plm.get("source"))
    return (
        record.dataset == _DATASETS.get(record.task)
        and result.split == _SPLITS[record.task]
        and result.examples + result.unanswerable == _EXAMPLES[record.task]
        and source.endswith(_PLMS)
        and all(encoder.endswith(_ENCODERS) for encoder in encoders)
        and len(encoders) == (2 if record.task == "label" else 1)
        and {**asdict(settings), **_FREE} == {**asdict(_papers_settings(record)), **_FREE}
    )


def _papers_settings(record: RunRecord) -> RunSettings:
    """Return the settings with which the paper trains a run's method on as many shots."""
    settings = record.settings
    method = METHODS[settings.method]
    preset = f"{_DATASETS[record.task]}_{'low' if settings.shots else 'full'}"
    values = PRESETS[preset].training(method.trained)
    same = {name: getattr(settings, name) for name in _VARIED} if method.prompt else {}
    return RunSettings(
        **{
            "method": settings.method,
            "shots": settings.shots,
            "preset": preset,
            "prompt_length": 0,
            "visibility": method.visibility,
            "lr_prompt": values.lr_prompt,
            "lr_other": values.lr_other,
            "batch_size": min(values.batch_size, record.train_examples),
            "epochs": values.epochs,
            "max_steps": values.max_steps,
            **same,
        }
    )


def main_figures(task: str) -> dict[str, dict[str, Figures]]:
    """Return table 2 ("vqa") or 4 ("label"): figures by shots ("128", "full"), then by method."""
    if task not in _MAIN:
        return {}
    table = dict(paper_results()[_MAIN[task]])
    columns = table.pop("columns")
    return {
        shots: {method: _figures(columns, values, _RUNS[task]) for method, values in rows.items()}
        for shots, rows in table.items()
    }


def length_figures() -> dict[str, dict[int, float]]:
    """Return table 5: VQAv2's overall accuracy by method, then by prompt length."""
    table = paper_results()["table5_vqav2_overall_by_prompt_length_mean_3_seeds"]
    return {
        method: dict(zip(table["lengths"], values, strict=True))
        for method, values in table.items()
        if method != "lengths"
    }


def variant_figures() -> dict[str, Figures]:
    """Return table 6: VQAv2's overall accuracy by variant, then by method."""
    table = dict(paper_results()["table6_vqav2_overall_variants"])
    columns = table.pop("columns")
    return {name: _figures(columns, values, 3) for name, values in table.items()}


def plm_figures() -> dict[str, dict[str, Figures]]:
    """Return table 7: figures by language model family, then by method."""
    table = dict(paper_results()["table7_vqav2_by_plm"])
    columns = table.pop("columns")
    return {
        family: {method: _figures(columns, values, 3) for method, values in rows.items()}
        for family, rows in table.items()
    }


def parameter_count(method: str, modalities: Collection[str]) -> str | None:
    """Return table 1's trainable parameters of a method as the paper writes them, if it does.

    Source: table 1, and for the two encoders that are fine-tuned on MUStARD its text.
    """
    if method == "finetune" and set(modalities) == {"video", "audio"}:
        return _BOTH_ENCODERS
    return paper_results()["table1_trainable_parameters"].get(method)


def _figures(columns: Sequence[str], values: Sequence[list[float] | None], runs: int) -> Figures:
    return {
        name: Spread(mean=pair[0], std=pair[1], count=runs)
        for name, pair in zip(columns, values, strict=True)
        if pair is not None
    }
