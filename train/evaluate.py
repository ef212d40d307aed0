"""`pfcli eval`: a prompt's greedy answers, its scores, and the trivial answers beside them."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePath

import numpy as np

from ..cache.atomic import write_atomic, write_lines
from ..cache.examples import DatasetInfo, ExampleTable, read_dataset
from ..errors import RunError
from .answer import answer, answer_data
from .data.candidates import answerable, places_of
from .data.selection import Selection, read_part, require_same_draw, select
from .live import LoadLive
from .metrics import Metrics, official_results, score, trivial_answers
from .plm.frozen import PLM
from .record import DEV, EVAL, METRICS, RunRecord, default_split, library_versions, read_record
from .settings import EvalSettings
from .trained import load_prompt


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation gave.

    Attributes:
        metrics: The run's scores, or None where the split has no answers.
        trivial: The trivial answers' scores, by name.
        substituted: Examples answered with a blank in place of a medium that has no features.
        unanswerable: Examples left out, as the language model cannot give their answers.
        folder: Where predictions and metrics were written.
    """

    record: RunRecord
    split: str
    metrics: Metrics | None
    trivial: dict[str, Metrics]
    substituted: int
    unanswerable: int
    folder: Path


def evaluate_run(
    folder: Path,
    cache_root: PurePath,
    plm: PLM,
    settings: EvalSettings,
    *,
    quiet: bool = False,
    live: LoadLive | None = None,
) -> Evaluation:
    """Return a run's scores on a split, after writing predictions and metrics into its folder.

    `quiet` shows no progress bar, `live` gives the encoders that the run trained.
    """
    record, prompt = read_record(folder), load_prompt(folder)
    info = read_dataset(cache_root, record.dataset)
    split = settings.split or default_split(info.task, info.splits, fold=record.settings.fold)
    opened = open_split(cache_root, info, record, split)
    table = _answerable_part(info, opened.table, plm)
    data = answer_data(prompt, plm, table, opened.features, live=live)
    predictions = [given.text for given in answer(prompt, data, settings, quiet=quiet)]
    answered = None not in table.answers
    evaluation = Evaluation(
        record=record,
        split=split,
        metrics=score(info.task, predictions, table, positive=info.positive) if answered else None,
        trivial=_trivial(cache_root, record, info, table, plm) if answered else {},
        substituted=data.substituted,
        unanswerable=len(opened.table) - len(table),
        folder=folder / f"{EVAL}{split}",
    )
    generated = {} if prompt.about.labels else {"max_new_tokens": settings.max_new_tokens}
    answering = {
        "by": "greedy" if generated else "labels",
        "batch_size": settings.batch_size,
        "plm_dtype": record.settings.plm_dtype,
        **generated,
    }
    _write(evaluation, table, predictions, answering)
    return evaluation


def open_split(cache_root: PurePath, info: DatasetInfo, record: RunRecord, split: str) -> Selection:
    """Return a split with a run's features; "dev" is what it set aside of its training split."""
    aside = record.set_aside(split)
    if split == DEV and not aside and DEV not in info.splits:
        raise RunError(
            f"run {record.name} set no examples aside, so it has no split {DEV!r}; train one with "
            f"--dev 64, or choose of: {', '.join(info.splits)}"
        )
    named = record.settings.split if aside else split
    opened = select(cache_root, record.dataset, named, record.settings.inputs)
    require_same_draw(record, opened.fold_draw)
    if not aside:
        return opened
    places = places_of(record.dev_ids or (), opened.table, run=record.name)
    return replace(opened, split=split, table=opened.table.take(places))


def _answerable_part(info: DatasetInfo, table: ExampleTable, plm: PLM) -> ExampleTable:
    """Return the examples whose answers `plm` can give; all of them where an answer is unknown."""
    if None in table.answers:
        return table
    return table.take(np.flatnonzero(answerable(info, table, plm)))


def _trivial(
    cache_root: PurePath, record: RunRecord, info: DatasetInfo, table: ExampleTable, plm: PLM
) -> dict[str, Metrics]:
    train, _ = read_part(cache_root, info, record.settings.split, record.settings.fold)
    if record.dev_ids is not None:
        aside = places_of(record.dev_ids, train, run=record.name)
        train = train.take(np.setdiff1d(np.arange(len(train)), aside))
    return trivial_answers(info, _answerable_part(info, train, plm), table)


def _write(
    evaluation: Evaluation,
    table: ExampleTable,
    predictions: list[str],
    answering: dict[str, object],
) -> None:
    folder, record = evaluation.folder, evaluation.record
    folder.mkdir(exist_ok=True)
    rows = zip(table.ids, predictions, table.answers, strict=True)
    lines = ({"id": name, "prediction": said, "answer": right} for name, said, right in rows)
    write_lines(folder / "predictions.jsonl", lines)
    if record.task == "vqa":
        write_atomic(folder / "results.json", official_results(table.ids, predictions))
    summary = {
        "run": record.name,
        "split": evaluation.split,
        "metrics": evaluation.metrics and asdict(evaluation.metrics),
        "trivial": {name: asdict(metrics) for name, metrics in evaluation.trivial.items()},
        "substituted": evaluation.substituted,
        "unanswerable": evaluation.unanswerable,
        "answering": answering,
        "ids_sha256": ids_sha256(table.ids),
        "versions": library_versions(),
    }
    write_atomic(folder / METRICS, json.dumps(summary, indent=1) + "\n")


def ids_sha256(ids: Sequence[str]) -> str:
    """Return the sha256 of a set of examples' ids, in any order."""
    return hashlib.sha256("\n".join(sorted(ids)).encode()).hexdigest()
