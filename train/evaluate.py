"""`pfcli eval`: a prompt's greedy answers, its scores, and the trivial answers beside them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from ..cache.atomic import write_atomic
from ..cache.examples import DatasetInfo, ExampleTable, read_dataset, read_examples
from .candidates import answerable
from .checkpoint import load_trained
from .data import FusionData, open_sources
from .fusion.parameters import Parameters
from .job import fusion_of, inputs_of, require_same_plm
from .live import LoadLive
from .loop import batches, fuse
from .metrics import Metrics, official_results, score, trivial_answers
from .plm.protocol import PLM
from .runs import PROMPT, RunRecord, library_versions, read_record
from .selection import select
from .settings import EvalSettings


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found.

    Attributes:
        record: The run.
        split: The split that was answered.
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


def default_split(info: DatasetInfo) -> str:
    """Return the split to evaluate on: "test", else "val", else the last one.

    VQAv2's test answers are not public, so a VQA dataset is evaluated on "val" (as in the paper).
    """
    order = ("val", "test") if info.task == "vqa" else ("test", "val")
    return next((name for name in order if name in info.splits), list(info.splits)[-1])


def evaluate_run(
    folder: Path,
    cache_root: Path,
    plm: PLM,
    settings: EvalSettings,
    *,
    quiet: bool = False,
    live: LoadLive | None = None,
) -> Evaluation:
    """Return a run's scores on a split, after writing predictions and metrics into its folder.

    Args:
        folder: The run's.
        cache_root: The cache's folder.
        plm: The frozen language model.
        settings: The split, and how it is answered.
        quiet: Show no progress bar.
        live: Gives the encoders that the run trained.

    Raises:
        RunError: If the run is unfinished or `plm` is not the model that it was trained with.
        CacheError: If the cache lacks the split or its features.
        PlmError: If the language model can give none of the split's answers.
    """
    record = read_record(folder)
    require_same_plm(record, plm)
    trained, _ = load_trained(folder / PROMPT)
    parameters = {name: tensor[None].to(plm.device) for name, tensor in trained.items()}
    info = read_dataset(cache_root, record.dataset)
    split = settings.split or default_split(info)
    opened = select(cache_root, record.dataset, split, inputs_of(record))
    table = _answerable_part(info, opened.table, plm)
    data = FusionData(table, open_sources(opened, plm, live), plm, fusion_of(record))
    predictions = answer_all(plm, data, info, parameters, settings, quiet=quiet)
    answered = _answered(table)
    found = Evaluation(
        record=record,
        split=split,
        metrics=_score(info, predictions, table) if answered else None,
        trivial=_trivial(cache_root, record, info, table, plm) if answered else {},
        substituted=data.substituted,
        unanswerable=len(opened.table) - len(table),
        folder=folder / f"eval-{split}",
    )
    _write(found, table, predictions)
    return found


def _answered(table: ExampleTable) -> bool:
    return all(answer is not None for answer in table.answers)


def _answerable_part(info: DatasetInfo, table: ExampleTable, plm: PLM) -> ExampleTable:
    """Return the examples whose answers `plm` can give; all of them where no answer is known."""
    return table.take(np.flatnonzero(answerable(info, table, plm))) if _answered(table) else table


@torch.inference_mode()
def answer_all(
    plm: PLM,
    data: FusionData,
    info: DatasetInfo,
    parameters: Parameters,
    settings: EvalSettings,
    *,
    quiet: bool = False,
) -> list[str]:
    """Return the answer to every example of `data`, in order.

    Args:
        plm: The frozen language model.
        data: The split, under the method that was trained.
        info: The dataset; labels are read by a verbaliser.
        parameters: One run's, each [1, …].
        settings: Batch size and length of answers.
        quiet: Show no progress bar.
    """
    label_ids = plm.label_ids(info.labels) if info.labels else None
    answers: list[str] = []
    with tqdm(
        total=len(data),
        unit="example",
        desc=f"eval {data.fusion.method.name}",
        disable=quiet or None,
    ) as bar:
        for batch in batches(len(data), size=settings.batch_size):
            fused = fuse(plm, data, parameters, list(batch))
            if label_ids is None:
                answers += plm.generate(fused, max_new_tokens=settings.max_new_tokens)
            else:
                best = plm.label_logits(fused, label_ids).argmax(dim=1)
                answers += [info.labels[index] for index in best.tolist()]
            bar.update(len(batch))
    return answers


def _score(info: DatasetInfo, predictions: list[str], table: ExampleTable) -> Metrics:
    return score(info.task, predictions, table, positive=info.positive)


def _trivial(
    cache_root: Path, record: RunRecord, info: DatasetInfo, table: ExampleTable, plm: PLM
) -> dict[str, Metrics]:
    train = read_examples(cache_root, record.dataset, record.train_split)
    return trivial_answers(info, _answerable_part(info, train, plm), table)


def _write(found: Evaluation, table: ExampleTable, predictions: list[str]) -> None:
    found.folder.mkdir(exist_ok=True)
    rows = (
        {"id": name, "prediction": prediction, "answer": answer}
        for name, prediction, answer in zip(table.ids, predictions, table.answers, strict=True)
    )
    write_atomic(
        found.folder / "predictions.jsonl", "".join(f"{json.dumps(row)}\n" for row in rows)
    )
    if found.record.task == "vqa":
        write_atomic(found.folder / "results.json", official_results(table.ids, predictions))
    summary = {
        "run": found.record.name,
        "split": found.split,
        "metrics": found.metrics and found.metrics.as_dict(),
        "trivial": {name: one.as_dict() for name, one in found.trivial.items()},
        "substituted": found.substituted,
        "unanswerable": found.unanswerable,
        "versions": library_versions(),
    }
    write_atomic(found.folder / "metrics.json", json.dumps(summary, indent=1) + "\n")
