"""`pfcli predict`: a trained prompt's answers about new media."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..cache.atomic import write_atomic
from ..errors import ConfigError
from ..extract.datasets import RawDataset, read_raw
from ..extract.datasets.files import read_files
from ..library.answering import Answerer, Row
from ..library.extraction import TABLES
from ..library.workspace import Workspace
from ..settings import by_modality
from ..tables import Table, printable
from ..train.settings import PredictSettings
from .export import open_prompt


def run_prediction(
    workspace: Workspace, run: str, files: tuple[str, ...], settings: PredictSettings
) -> bool:
    """Answer and print; return whether every example has an answer."""
    prompt = open_prompt(workspace, run)
    answerer = Answerer(
        prompt,
        cache=workspace.cache,
        encoders=by_modality("--encoder", settings.encoder, tuple(prompt.fields)),
        plm=settings.plm,
        plm_revision=settings.plm_revision,
        settings=settings.answering,
    )
    if settings.output is not None and not Path(settings.output).parent.is_dir():
        raise ConfigError(
            f"--output {settings.output}: there is no folder {Path(settings.output).parent}"
        )
    predictions = answerer.predict(_questions(run, files, settings, answerer.modalities))
    for modality, completed in predictions.completed.items():
        print(f"{modality}: {completed.there} media encoded before, {completed.encoded} now")
    rows = predictions.rows
    if settings.text is not None:
        rows = _as_typed(rows, files)
    _report(rows, settings.output, probabilities=bool(prompt.about.labels))
    return all(row.answer is not None for row in rows)


def _questions(
    run: str, files: tuple[str, ...], settings: PredictSettings, modalities: Sequence[str]
) -> RawDataset:
    """Return what is asked: a table's rows, or the text about each file.

    Raises:
        ConfigError: If files have no text, a table has one, or a table lacks a modality.
    """
    tables = [name for name in files if Path(name).suffix.lower() in TABLES]
    if not tables:
        if settings.text is None:
            raise ConfigError(
                f"what is asked about {files[0]}? give --text QUESTION, or a table "
                f"({', '.join(TABLES)}) with columns id, text, {', '.join(modalities)}"
            )
        paths = [Path(name) for name in files]
        return read_files(paths, settings.text, modalities=modalities)
    if len(files) > 1:
        raise ConfigError(
            f"{tables[0]} is a table: give it alone, not with {len(files) - 1} more files"
        )
    if settings.text is not None:
        raise ConfigError(f"{tables[0]} is a table with texts of its own; leave out --text")
    raw = read_raw(
        "table",
        Path(tables[0]),
        name="table",
        options={"columns": dict(settings.columns)} if settings.columns else {},
    )
    lacking = [name for name in modalities if name not in raw.info.modalities]
    if lacking:
        raise ConfigError(f"{tables[0]} names no {lacking[0]} in any row; {run} reads it")
    splits = {
        name: [
            replace(
                example,
                paths={name: example.paths[name] for name in modalities if name in example.paths},
            )
            for example in split
        ]
        for name, split in raw.splits.items()
    }
    return replace(raw, info=replace(raw.info, modalities=tuple(modalities)), splits=splits)


def _as_typed(rows: Sequence[Row], files: Sequence[str]) -> list[Row]:
    """Return the rows with their files as they were typed."""
    return [
        replace(row, example=replace(row.example, paths=dict.fromkeys(row.example.paths, name)))
        for row, name in zip(rows, files, strict=True)
    ]


def _report(rows: Sequence[Row], output: str | None, *, probabilities: bool) -> None:
    answered = [(row, row.answer) for row in rows if row.answer is not None]
    columns = ["file", "text", "answer", *(["probability"] if probabilities else [])]
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


def _json(row: Row) -> dict[str, object]:
    example, answer = row.example, row.answer
    asked = {"id": example.id, "file": row.file, "text": example.text}
    if answer is None:
        return {**asked, "answer": None, "reason": row.reason}
    given: dict[str, object] = {**asked, "answer": answer.text}
    if answer.probability is not None:
        given["probability"] = round(answer.probability, 6)
    return given
