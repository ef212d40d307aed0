"""`pfcli predict`: a trained prompt's answers about new media."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..cache.atomic import write_atomic
from ..cache.commits import Failure
from ..cache.examples import DatasetInfo, Example, example_table
from ..config import Workspace
from ..errors import ConfigError, PretrainedError
from ..extract.complete import Completed, complete_features
from ..extract.datasets import RawDataset, identify, read_raw
from ..extract.datasets.files import read_files
from ..extraction import TABLES
from ..options import by_modality
from ..tables import Table, printable
from ..train.answer import Answer, answer_examples
from ..train.settings import EvalSettings
from ..train.trained import TrainedPrompt
from ..training import load
from .export import open_prompt


@dataclass(frozen=True)
class PredictRequest:
    """What to answer, and with what.

    Attributes:
        run: A run's folder, name or number, or an exported file.
        files: Media, or one table.
        text: The question about each medium; None for a table.
        options: Of the table's adapter, such as `columns`.
        encoder: `[MODALITY=]SPEC`, where encoders are if not where the prompt says.
        plm: Where the language model is, likewise.
        output: A JSONL file to write.
    """

    run: str
    files: tuple[str, ...]
    text: str | None
    options: Mapping[str, Any]
    encoder: tuple[str, ...]
    plm: str | None
    output: str | None


@dataclass(frozen=True)
class _Row:
    """One example with its answer, or with the reason why it has none."""

    example: Example
    answer: Answer | None = None
    reason: str | None = None

    @property
    def file(self) -> str:
        """Its media's paths, each once."""
        return ", ".join(dict.fromkeys(self.example.paths.values()))


def run_prediction(workspace: Workspace, request: PredictRequest, settings: EvalSettings) -> bool:
    """Answer and print; return whether every example has an answer."""
    prompt = open_prompt(workspace, request.run)
    modalities = prompt.about.settings.modalities
    specs = by_modality("--encoder", request.encoder, modalities) or {}
    _check(request, modalities, specs)
    raw = _questions(request, modalities)
    found, splits = identify(raw)
    cache_root = Path(workspace.cache)
    with _pointing_to("--encoder"):
        completed = complete_features(
            found.media, prompt.manifests, cache_root, specs=specs, device=settings.device
        )
    for modality, one in completed.items():
        print(f"{modality}: {one.there} media encoded before, {one.encoded} now")
    unreadable = {failure.path: failure for failure in found.failures}
    rows = [
        _Row(one, reason=_problem(one, modalities, completed, unreadable, raw.root))
        for split in splits.values()
        for one in split
    ]
    if request.text is not None:
        rows = _as_typed(rows, request.files)
    rows = _answered(prompt, rows, found.info, completed, request.plm, settings)
    _report(prompt, rows, request.output)
    return all(row.answer is not None for row in rows)


@contextmanager
def _pointing_to(option: str) -> Iterator[None]:
    """Name the option that helps where a model is not where it was."""
    try:
        yield
    except PretrainedError as error:
        raise PretrainedError(f"{error}; if it lies elsewhere: {option} FOLDER") from error


def _check(request: PredictRequest, modalities: Sequence[str], specs: Mapping[str, str]) -> None:
    unused = [name for name in specs if name not in modalities]
    if unused:
        raise ConfigError(f"--encoder {unused[0]}=…: {request.run} reads {', '.join(modalities)}")
    if request.output is not None and not Path(request.output).parent.is_dir():
        raise ConfigError(
            f"--output {request.output}: there is no folder {Path(request.output).parent}"
        )


def _questions(request: PredictRequest, modalities: Sequence[str]) -> RawDataset:
    """Return what is asked: a table's rows, or the text about each file.

    Raises:
        ConfigError: If files have no text, a table has one, or a table lacks a modality.
    """
    tables = [name for name in request.files if Path(name).suffix.lower() in TABLES]
    if not tables:
        if request.text is None:
            raise ConfigError(
                f"what is asked about {request.files[0]}? give --text QUESTION, or a table "
                f"({', '.join(TABLES)}) with columns id, text, {', '.join(modalities)}"
            )
        files = [Path(name) for name in request.files]
        return read_files(files, request.text, modalities=modalities)
    if len(request.files) > 1:
        raise ConfigError(
            f"{tables[0]} is a table: give it alone, not with {len(request.files) - 1} more files"
        )
    if request.text is not None:
        raise ConfigError(f"{tables[0]} is a table with texts of its own; leave out --text")
    raw = read_raw("table", Path(tables[0]), name="table", options=request.options)
    lacking = [name for name in modalities if name not in raw.modalities]
    if lacking:
        raise ConfigError(f"{tables[0]} names no {lacking[0]} in any row; {request.run} reads it")
    splits = {
        name: [
            replace(one, media={m: one.media[m] for m in modalities if m in one.media})
            for one in split
        ]
        for name, split in raw.splits.items()
    }
    return replace(raw, modalities=tuple(modalities), splits=splits)


def _as_typed(rows: Sequence[_Row], files: Sequence[str]) -> list[_Row]:
    """Return the rows with their files as they were typed."""
    return [
        replace(row, example=replace(row.example, paths=dict.fromkeys(row.example.paths, name)))
        for row, name in zip(rows, files, strict=True)
    ]


def _problem(
    example: Example,
    modalities: Sequence[str],
    completed: Mapping[str, Completed],
    unreadable: Mapping[str, Failure],
    root: Path,
) -> str | None:
    """Return why an example cannot be answered, or None."""
    for modality in modalities:
        if modality not in example.paths:
            return f"names no {modality}"
        key = example.media.get(modality)
        failure = (
            unreadable[example.paths[modality]]
            if key is None
            else completed[modality].failures.get(key)
        )
        if failure is not None:
            where = root / example.paths[modality]
            return f"{failure.reason}: {failure.message.removeprefix(f'{where}: ')}"
    return None


def _answered(
    prompt: TrainedPrompt,
    rows: Sequence[_Row],
    info: DatasetInfo,
    completed: Mapping[str, Completed],
    plm_source: str | None,
    settings: EvalSettings,
) -> list[_Row]:
    """Return the rows with the answers to those that can be answered."""
    asked = [row.example for row in rows if row.reason is None]
    if not asked:
        return list(rows)
    about = prompt.about
    source = plm_source or str(about.plm["source"])
    with _pointing_to("--plm"):
        plm = load(source, about.settings.plm_dtype, settings.device, settings.threads)
    features = {name: one.features for name, one in completed.items()}
    table = example_table(info, asked)
    answers = iter(answer_examples(prompt, plm, table, features, settings))
    return [row if row.reason else replace(row, answer=next(answers)) for row in rows]


def _report(prompt: TrainedPrompt, rows: Sequence[_Row], output: str | None) -> None:
    answered = [(row, row.answer) for row in rows if row.answer is not None]
    columns = ["file", "text", "answer", *(["probability"] if prompt.about.labels else [])]
    cells = [
        [row.file, row.example.text, answer.text, answer.probability][: len(columns)]
        for row, answer in answered
    ]
    if answered:
        print(Table("", columns, cells, decimals=3).text())
    for row in rows:
        if row.reason is not None:
            print(printable(f"not answered: {row.file or row.example.id}: {row.reason}"))
    if output is not None:
        write_atomic(Path(output), "".join(f"{json.dumps(_json(row))}\n" for row in rows))
        print(f"wrote {output}")


def _json(row: _Row) -> dict[str, object]:
    example, answer = row.example, row.answer
    asked = {"id": example.id, "file": row.file, "text": example.text}
    if answer is None:
        return {**asked, "answer": None, "reason": row.reason}
    given: dict[str, object] = {**asked, "answer": answer.text}
    if answer.probability is not None:
        given["probability"] = round(answer.probability, 6)
    return given
