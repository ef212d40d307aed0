"""The paper's own figures, shipped beside this file, and which runs they are comparable with.

Source: tables 1, 2 and 4 to 8 of https://arxiv.org/abs/2203.08055.
"""

import json
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ...tables import Cell, Spread, Table
from ..fusion.methods import METHODS
from ..presets import PRESETS
from ..record import RunRecord, default_split, record_source
from ..settings import NOT_A_RESULT, EvalSettings, RunSettings
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

_DATASETS = {"vqa": "vqav2", "label": "mustard"}
_PLMS = {
    "bart-base": "bart",
    "t5-base": "t5",
    "bert-base-uncased": "bert",
    "bert-base-cased": "bert",
}
_ENCODERS = {
    "image": "vit-base-patch16-224-in21k",
    "video": "vit-base-patch16-224-in21k",
    "audio": "wav2vec2-base-960h",
}
_BOTH_ENCODERS = "180M"
_FREE = dict.fromkeys(
    (
        *("seed", "seeds", "data_seed", *NOT_A_RESULT),
        *("plm", "features", "fields", "modalities"),  # compared by what they name
        *DOCUMENTED,
    )
)


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
        title: What it shows.
        keys: What its rows are told apart by.
        columns: The figures' names; the last is the one to compare by.
        runs: Seeds that each mean is of.
        rows: Keys, then a mean and its deviation, a mean alone or None for each column.
    """

    task: str
    title: str
    keys: Sequence[str]
    columns: Sequence[str]
    runs: int
    rows: Sequence[Sequence[Any]]

    def figures(self, *keys: Cell) -> dict[str, Spread]:
        """Return a row's figures by name; empty where there is no such row."""
        row = next((row for row in self.rows if tuple(row[: len(self.keys)]) == keys), ())
        cells = zip(self.columns, map(self._cell, row[len(self.keys) :]), strict=False)
        return {name: cell for name, cell in cells if cell is not None}

    def table(self, number: int, *, mine: str) -> Table:
        """Return the whole table under the paper's name; `mine` is the dataset that it is not."""
        rows: list[list[Cell]] = [
            [*row[: len(self.keys)], *map(self._cell, row[len(self.keys) :]), self.runs]
            for row in self.rows
        ]
        title = f"The paper's table {number}. {self.title} (not {mine})"
        return Table(title, [*self.keys, *self.columns, "runs"], rows, decimals=1)

    def _cell(self, value: Sequence[float] | float | None) -> Spread | None:
        if value is None:
            return None
        mean, std = (value, None) if isinstance(value, int | float) else value
        return Spread(mean, std, self.runs)


@cache
def paper_table(number: int) -> PaperTable:
    """Return the paper's table of this number: 2 or 4 to 7."""
    return PaperTable(**paper_results()["tables"][str(number)])


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
    record, settings = result.record, result.record.settings
    if record.dataset != _DATASETS.get(record.task) or settings.fold is not None:
        return False
    setup = paper_results()["setup"][_preset(record)]
    trained = settings.shots or setup["train"] - record.unanswerable_examples
    encoders = {name: _last(use.encoder) for name, use in record.features.items()}
    return (
        result.split == default_split(record.task, ("val", "test"))
        and result.examples + result.unanswerable == setup["test"]
        and record.train_examples == trained
        and papers_family(result) is not None
        and encoders == {name: _ENCODERS[name] for name in setup["modalities"] if name != "text"}
        and result.answering.get("max_new_tokens", EvalSettings.max_new_tokens)
        == EvalSettings.max_new_tokens
        and all(getattr(settings, name) in values for name, values in DOCUMENTED.items())
        and {**asdict(settings), **_FREE} == {**asdict(_papers_settings(record)), **_FREE}
    )


def _last(source: str) -> str:
    return source.rstrip("/").rsplit("/", 1)[-1]


def _preset(record: RunRecord) -> str:
    return f"{_DATASETS[record.task]}_{'low' if record.settings.shots else 'full'}"


def _papers_settings(record: RunRecord) -> RunSettings:
    """Return the settings with which the paper trains a run's method on as many shots."""
    settings, method = record.settings, METHODS[record.settings.method]
    values = PRESETS[_preset(record)].training(method.trained)
    same = {name: getattr(settings, name) for name in VARIED} if method.prompt else {}
    return RunSettings(
        **{
            "method": settings.method,
            "shots": settings.shots,
            "preset": _preset(record),
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


def parameter_count(method: str, modalities: Collection[str]) -> str | None:
    """Return table 1's trainable parameters of a method as the paper writes them, if it does.

    Source: table 1, and for the two encoders that are fine-tuned on MUStARD its text.
    """
    if method == "finetune" and set(modalities) == {"video", "audio"}:
        return _BOTH_ENCODERS
    return paper_results()["trainable_parameters"].get(method)
