"""`pfcli export` and `pfcli predict`: a trained prompt as something to share, and its answers."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..cache.atomic import write_atomic
from ..cache.examples import Example
from ..errors import ConfigError, RunError
from ..extract.datasets import RawDataset, read_files, read_raw
from ..extract.datasets.records import TABLES
from ..library.answering import Answerer, Row
from ..library.to_type import command
from ..library.workspace import Workspace
from ..settings import by_modality
from ..tables import Table, printable
from ..train.peft_folder import write_peft_folder
from ..train.runs.folders import find_run
from ..train.settings import ExportSettings, PredictSettings
from ..train.trained import TrainedPrompt, load_prompt, require_portable, write_prompt

SUFFIX = ".safetensors"


def open_prompt(workspace: Workspace, run: str | None) -> TrainedPrompt:
    """Return a trained prompt: of a run by path, name or number, or of an exported file."""
    if run is not None and (run.endswith(SUFFIX) or Path(run).is_file()):
        if not Path(run).is_file():
            raise RunError(f"{run}: no such file; pfcli export makes one of a run")
        return load_prompt(Path(run))
    return load_prompt(find_run(workspace.runs, run))


def run_export(workspace: Workspace, run: str | None, settings: ExportSettings) -> None:
    """Write a trained prompt for others and print where."""
    prompt = open_prompt(workspace, run)
    require_portable(prompt)
    path, about = _target(prompt, settings.output, settings.format), prompt.about
    (write_peft_folder if settings.format == "peft" else write_prompt)(path, prompt)
    print(f"{about.settings.method} of {about.dataset} for {about.plm.get('source')}")
    for modality, manifest in prompt.manifests.items():
        field = prompt.fields[modality]
        print(f"{modality}: {field} of {manifest.identity.get('id')} ({manifest.fingerprint})")
    print(f"wrote {path}")
    if settings.format == "safetensors":
        print(f'next: {command(workspace, "predict", str(path))} FILE --text "QUESTION"')


def _target(prompt: TrainedPrompt, output: str | None, kind: str) -> Path:
    """Return what to write: a folder for PEFT, else a file."""
    name = f"{prompt.about.name}{'-peft' if kind == 'peft' else SUFFIX}"
    path = Path(output or name)
    if kind == "safetensors" and path.is_dir():
        path = path / name
    if kind == "peft" and path.is_file():
        raise ConfigError(f"--output {path} is a file; for PEFT name a folder")
    if kind == "safetensors" and path.suffix != SUFFIX:
        raise ConfigError(f"--output {path}: the file's name must end in {SUFFIX}")
    if not path.parent.is_dir():
        raise ConfigError(f"--output {path}: there is no folder {path.parent}; make it first")
    return path


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
    output = settings.output and Path(settings.output)
    if output and not output.parent.is_dir():
        raise ConfigError(f"--output {output}: there is no folder {output.parent}")
    rows, completed = answerer.predict(_questions(run, files, settings, answerer.modalities))
    for modality, media in completed.items():
        print(f"{modality}: {media.there} media encoded before, {media.encoded} now")
    if settings.text is not None:  # a row a file: show each as it was typed
        rows = [
            replace(row, example=replace(row.example, paths=dict.fromkeys(row.example.paths, name)))
            for row, name in zip(rows, files, strict=True)
        ]
    _print_rows(rows)
    if output:
        write_atomic(output, "".join(map(_json, rows)))
        print(f"wrote {output}")
    return all(row.answer is not None for row in rows)


def _questions(
    run: str, files: tuple[str, ...], settings: PredictSettings, modalities: Sequence[str]
) -> RawDataset:
    """Return what is asked: a table's rows, or the text about each file."""
    tables = [name for name in files if Path(name).suffix.lower() in TABLES]
    if not tables:
        if settings.text is None:
            raise ConfigError(
                f"what is asked about {files[0]}? give --text QUESTION, or a table "
                f"({', '.join(TABLES)}) with columns id, text, {', '.join(modalities)}"
            )
        return read_files([*map(Path, files)], settings.text, modalities=modalities)
    if len(files) > 1:
        raise ConfigError(
            f"{tables[0]} is a table: give it alone, not with {len(files) - 1} more files"
        )
    if settings.text is not None:
        raise ConfigError(f"{tables[0]} is a table with texts of its own; leave out --text")
    columns = {"columns": dict(settings.columns)} if settings.columns else {}
    raw = read_raw("table", Path(tables[0]), name="table", options=columns)
    for name in modalities:
        if name not in raw.info.modalities:
            raise ConfigError(f"{tables[0]} names no {name} in any row; {run} reads it")

    def read(example: Example) -> Example:
        paths = {name: path for name, path in example.paths.items() if name in modalities}
        return replace(example, paths=paths)

    splits = {name: [*map(read, split)] for name, split in raw.splits.items()}
    return replace(raw, info=replace(raw.info, modalities=tuple(modalities)), splits=splits)


def _print_rows(rows: Sequence[Row]) -> None:
    """Print a table of the answers, then what was not answered and why."""
    columns = ["file", "text", "answer", "probability"]
    answered = ((row.file, row.example.text, row.answer) for row in rows)
    cells = [
        [file, text, answer.text, answer.probability] for file, text, answer in answered if answer
    ]
    if all(probability is None for *_, probability in cells):  # of a free answer
        columns, cells = columns[:-1], [row[:-1] for row in cells]
    if cells:
        print(Table("", columns, cells, decimals=3).text())
    for row in rows:
        if row.reason is not None:
            print(printable(f"not answered: {row.file or row.example.id}: {row.reason}"))


def _json(row: Row) -> str:
    example, answer = row.example, row.answer
    values: dict[str, object] = {"id": example.id, "file": row.file, "text": example.text}
    values["answer"] = None if answer is None else answer.text
    if answer is None:
        values["reason"] = row.reason
    elif answer.probability is not None:
        values["probability"] = round(answer.probability, 6)
    return f"{json.dumps(values)}\n"
