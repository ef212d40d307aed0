"""Evaluated runs read back from their folders."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...cache.atomic import read_lines
from ...errors import RunError
from ..metrics.vqa import ALWAYS
from ..record import LOG, RunRecord, default_split, evaluations, read_record
from ..settings import RunSettings

_OF_ALL = ("overall", ALWAYS, "exact_match")
"""The figures over a whole split."""


@dataclass(frozen=True)
class Result:
    """One run evaluated on one split.

    Attributes:
        values: Its figures, in percent; those in `columns` belong in a table.
        headline: The one to compare by.
        examples: How many were scored; `ids_sha256` is the hash of their ids.
        trivial: The trivial answers' figures, by name.
        unanswerable: Examples of the split that the language model cannot answer; not scored.
        answering: How answers were read of the language model.
    """

    folder: Path
    record: RunRecord
    split: str
    values: Mapping[str, float]
    columns: tuple[str, ...]
    headline: str
    examples: int
    trivial: Mapping[str, Mapping[str, float]]
    unanswerable: int
    answering: Mapping[str, Any]
    ids_sha256: str

    @property
    def settings(self) -> RunSettings:
        """The run's settings."""
        return self.record.settings


def read_results(
    folders: Iterable[Path], *, split: str | None = None
) -> tuple[list[Result], list[str]]:
    """Return the evaluated runs among `folders`, and the names of those that are not evaluated.

    Without a `split`, a run's figures are those of the test split, or of what else there is.

    Raises:
        RunError: If a run's record or figures are not of this version.
    """
    read = [(folder.name, _read(folder, split)) for folder in folders]
    unevaluated = [name for name, result in read if result is None]
    return [result for _, result in read if result is not None], unevaluated


def _read(folder: Path, split: str | None) -> Result | None:
    record, paths = read_record(folder), evaluations(folder)
    if split is None and paths:
        split = default_split(record.task, paths)
    if split is None or split not in paths:
        return None
    try:
        summary = json.loads(paths[split].read_text(encoding="utf-8"))
        return None if summary["metrics"] is None else _result(folder, record, split, summary)
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise RunError(
            f"{paths[split]} holds no figures of this version ({error!r}); "
            f"evaluate the run again: pfcli eval {folder}"
        ) from error


def _result(folder: Path, record: RunRecord, split: str, summary: Mapping[str, Any]) -> Result:
    metrics, unanswerable = summary["metrics"], summary["unanswerable"]

    def named(name: str) -> str:
        """Return a figure's name; a part of a split has no overall figure."""
        return f"{name} of answerable" if unanswerable and name in _OF_ALL else name

    def values_of(metrics: Mapping[str, Any]) -> dict[str, float]:
        return {named(name): value for name, value in metrics["values"].items()}

    return Result(
        folder=folder,
        record=record,
        split=split,
        values=values_of(metrics),
        columns=tuple(map(named, metrics["columns"])),
        headline=named(metrics["headline"]),
        examples=metrics["examples"],
        trivial={answer: values_of(figures) for answer, figures in summary["trivial"].items()},
        unanswerable=unanswerable,
        answering=summary["answering"],
        ids_sha256=summary["ids_sha256"],
    )


def read_losses(folder: Path) -> list[float]:
    """Return a run's training loss at each step; empty where nothing was trained."""
    return [float(line["loss"]) for line in read_lines(folder / LOG)]
