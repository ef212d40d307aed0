"""Folders of runs written by hand, without training: records, figures, logs and answers."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

from promptfuse.train.fusion.methods import METHODS
from promptfuse.train.record import FeatureUse, RunRecord, write_record
from promptfuse.train.runs.folders import new_run_names
from promptfuse.train.settings import RunSettings

COLUMNS = {
    "label": ["precision", "recall", "f1", "weighted_f1"],
    "vqa": ["overall", "always-normalised", "yes/no", "number", "other"],
}
PAPER_EXAMPLES = {"mustard": 356, "vqav2": 214_354}
PAPER_VIDEO = FeatureUse("aa", "pooler", "google/vit-base-patch16-224-in21k")
PAPER_AUDIO = FeatureUse("bb", "last_hidden_state", "facebook/wav2vec2-base-960h")
PAPER_PLM = {"source": "facebook/bart-base", "id": "facebook/bart-base", "family": "bart"}


def made_record(**changes: Any) -> RunRecord:
    """Return a record in the paper's usual set-up; what no test looks at is neutral."""
    own = {field.name for field in fields(RunRecord)}
    values: dict[str, Any] = {
        "name": "",
        "group": [],
        "dataset": "jokes",
        "task": "label",
        "plm": {"source": "/models/small", "family": "bart", "hidden_size": 16},
        "features": {
            "video": FeatureUse("aa", "pooler", "small"),
            "audio": FeatureUse("bb", "last_hidden_state", "small"),
        },
        "steps": 4,
        "train_examples": 8,
        "examples_sha256": "0" * 64,
        "dropped_examples": 0,
        "unanswerable_examples": 0,
        "example_ids": ["a"],
        "trainable_parameters": 320,
    } | {name: value for name, value in changes.items() if name in own}
    uses = values["features"]
    settings: dict[str, Any] = {
        "visibility": METHODS[changes.get("method", "promptfuse")].visibility,
        "shots": 8,
        "data_seed": changes.get("seed", 0),
        "preset": "mustard_low",
        "batch_size": 8,
        "epochs": 50,
        "plm": values["plm"]["source"],
        "modalities": tuple(uses),
        "features": {name: use.fingerprint for name, use in uses.items()},
        "fields": {name: use.field for name, use in uses.items()},
    } | {name: value for name, value in changes.items() if name not in own}
    return RunRecord(**values, settings=RunSettings(**settings))


def made_run(
    root: Path,
    figures: dict[str, float] | None = None,
    *,
    split: str = "test",
    losses: tuple[float, ...] = (2.0, 1.0),
    answers: dict[str, str] | None = None,
    **changes: Any,
) -> Path:
    """Write a run's folder; without figures it is not evaluated."""
    record = made_record(**changes)
    settings = record.settings
    stem = f"{record.dataset}-{settings.method}-seed{settings.seed}"
    (name,) = new_run_names(root, [stem])
    folder = root / name
    folder.mkdir(parents=True)
    write_record(folder, record)
    lines = [json.dumps({"step": step, "loss": loss}) for step, loss in enumerate(losses, 1)]
    (folder / "log.jsonl").write_text("".join(f"{line}\n" for line in lines))
    if figures is not None:
        _write_evaluation(folder / f"eval-{split}", record, figures, answers or {})
    return folder


def _write_evaluation(
    folder: Path, record: RunRecord, figures: dict[str, float], answers: dict[str, str]
) -> None:
    folder.mkdir()
    columns = [name for name in COLUMNS[record.task] if name in figures]
    headline = "overall" if record.task == "vqa" else "f1"
    scored = PAPER_EXAMPLES.get(record.dataset, 6)
    metrics = {"values": figures, "columns": columns, "headline": headline, "examples": scored}
    summary = {
        "metrics": metrics,
        "trivial": {"always True": metrics | {"values": dict.fromkeys(figures, 40.0)}},
        "unanswerable": 0,
        "answering": {"by": "labels", "batch_size": 8, "plm_dtype": "float32"},
        "ids_sha256": "0" * 64,
    }
    (folder / "metrics.json").write_text(json.dumps(summary))
    rows = [
        {"id": name, "prediction": prediction, "answer": None}
        for name, prediction in answers.items()
    ]
    (folder / "predictions.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))


def labels(f1: float) -> dict[str, float]:
    return {"precision": 50.0, "recall": 60.0, "f1": f1}
