"""Runs on a small cache, started as the command starts them."""

from __future__ import annotations

from pathlib import Path

from promptfuse.train.data.selection import select
from promptfuse.train.plm.frozen import PLM
from promptfuse.train.runs import start
from promptfuse.train.settings import TrainSettings


def start_runs(
    cache: Path, runs: Path, dataset: str, plm: PLM, settings: TrainSettings
) -> list[Path]:
    selection = select(cache, dataset, settings.split, settings.inputs)
    return start.start_runs(selection, runs, plm, settings)
