"""The paper's own figures, shipped beside this file, and which runs they are comparable with.

Source: tables 1, 2 and 4 to 8 of https://arxiv.org/abs/2203.08055.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from ...tables import Cell, Spread, Table
from ..fusion.methods import METHODS
from ..presets import PRESETS
from ..record import RunRecord, deciding, default_split, record_source
from ..settings import EvalSettings, RunSettings
from .collect import Result

MAIN = {"vqa": 2, "label": 4, "text": 2}
"""The table that compares the methods, by task."""

VARIED = ("prompt_length", "prompt_position", "prompt_encoder")
"""The settings that tables 5 and 6 vary."""

DOCUMENTED = {
    "prompt_init": {"random": "text", "tokens": "released code"},
    "shot_sampling": {"stratified": "text", "paper": "released code"},
}
"""Where the paper's text and its released code differ: who does what."""

_PLMS = {
    "bart-base": "bart",
    "t5-base": "t5",
    "bert-base-uncased": "bert",
    "bert-base-cased": "bert",
}


@cache
def paper_results() -> dict[str, Any]:
    """Return all of the paper's figures."""
    path = Path(__file__).with_name("paper_results.json")
    return json.loads(path.read_text(encoding="utf-8"))


@dataclass(frozen=True)
class PaperTable:
    """One of the paper's tables of results.

    Attributes:
        task: Of its dataset.
        keys: What its rows are told apart by.
        columns: The figures' names; the last is the one to compare by.
        runs: Seeds that each mean is of.
        rows: Keys, then a spread or None for each column.
    """

    number: int
    task: str
    title: str
    keys: Sequence[str]
    columns: Sequence[str]
    runs: int
    rows: Sequence[Sequence[Any]]

    def figures(self, *keys: Cell) -> dict[str, Spread]:
        """Return a row's figures by name; empty where there is no such row."""
        row = next((row for row in self.rows if tuple(row[: len(keys)]) == keys), ())
        named = zip(self.columns, row[len(keys) :], strict=False)
        return {name: cell for name, cell in named if cell is not None}

    def table(self, *, mine: str) -> Table:
        """Return the whole table under the paper's name; `mine` is the dataset that it is not."""
        title = f"The paper's table {self.number}. {self.title} (not {mine})"
        rows = [[*row, self.runs] for row in self.rows]
        return Table(title, [*self.keys, *self.columns, "runs"], rows, decimals=1)


@cache
def paper_table(number: int) -> PaperTable:
    """Return the paper's table of this number: 2 or 4 to 7."""
    table = PaperTable(number, **paper_results()["tables"][str(number)])
    keys = len(table.keys)
    rows = [
        [*row[:keys], *(at and Spread(at[0], at[1], table.runs) for at in row[keys:])]
        for row in table.rows
    ]
    return replace(table, rows=rows)


@cache
def method_rank(method: str) -> int:
    """Return where a method stands in the paper's tables; -1, before all, where it does not."""
    listed = list(dict.fromkeys(row[1] for row in paper_table(2).rows))
    return listed.index(method) if method in listed else -1


def papers_family(result: Result) -> str | None:
    """Return the paper's family of language models that a run's is of, if it is the paper's own."""
    return _PLMS.get(_last(record_source(result.record)))


def is_papers_setting(result: Result) -> bool:
    """Return whether a run is the paper's own setting in all but seeds and what tables 5-6 vary.

    Its data, split, models and inputs are the paper's, all examples were there, answers were read
    as by default, and its resolved settings are what the paper's preset for the task and the shots
    comes to.

    Source: section 4, table 8.
    """
    record, settings = result.record, result.settings
    preset = f"{record.dataset}_{'low' if settings.shots else 'full'}"
    setup = paper_results()["setup"].get(preset)
    if setup is None or setup["task"] != record.task or settings.fold is not None:
        return False
    trained = settings.shots or setup["train"] - record.unanswerable_examples
    longest = EvalSettings.max_new_tokens
    papers = replace(record, settings=_papers_settings(record, preset))
    return (
        result.split == default_split(record.task, ("val", "test"))
        and result.examples + result.unanswerable == setup["test"]
        and record.train_examples == trained
        and papers_family(result) is not None
        and {name: _last(use.encoder) for name, use in record.features.items()} == setup["encoders"]
        and result.answering.get("max_new_tokens", longest) == longest
        and all(getattr(settings, name) in values for name, values in DOCUMENTED.items())
        and deciding(record) == deciding(papers)
    )


def _last(source: str) -> str:
    return source.rstrip("/").rsplit("/", 1)[-1]


def _papers_settings(record: RunRecord, preset: str) -> RunSettings:
    """Return the settings with which the paper trains a run's method on as many shots."""
    settings, method, values = record.settings, METHODS[record.settings.method], PRESETS[preset]
    own = ("method", "shots", *DOCUMENTED, *(VARIED if method.prompt else ()))
    return RunSettings(
        **{
            "preset": preset,
            "prompt_length": 0,
            "visibility": method.visibility,
            "lr_prompt": values.lr_prompt,
            "lr_other": values.lr_other,
            "batch_size": min(values.batch_size, record.train_examples),
            "epochs": values.epochs,
            **{name: getattr(settings, name) for name in own},
        }
    )
