"""`pfcli`: parses, calls, prints. Heavy libraries are imported by the command that needs them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from . import __version__
from .errors import PromptFuseError
from .options import adapter_options, by_modality, modality_names

app = typer.Typer(
    name="pfcli",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    add_completion=False,
    help="Fuse image, video, audio and text by training a few prompt vectors in front of a frozen "
    "language model. The encoders run once (extract); prompts train on what they wrote (train).",
    epilog="Start: `pfcli extract --modality video`, `pfcli train --method blindprompt "
    "--shots 16`, `pfcli eval`. Settings can also stand in promptfuse.toml.",
)

Dataset = Annotated[
    str | None, typer.Option(help="The dataset: demo-mustard, demo-vqa, mustard, vqav2 or a name.")
]
Cache = Annotated[str | None, typer.Option(help="The cache's folder. [default: pf/cache]")]
Runs = Annotated[str | None, typer.Option(help="The runs' folder. [default: pf/runs]")]
Sweeps = Annotated[str | None, typer.Option(help="The sweeps' folder. [default: pf/sweeps]")]
Device = Annotated[str | None, typer.Option(help="auto, cpu, cuda, … [default: auto]")]
Threads = Annotated[
    int | None, typer.Option(help="CPU threads. [default: torch's; 1 for small models]")
]


@app.command(
    epilog="Examples: `pfcli extract --modality video` · `pfcli extract --dataset vqav2 --data "
    "/data/vqa --modality image` · `pfcli extract --dataset mine --data mine.jsonl --modality "
    "image --encoder open_clip:ViT-B-32`"
)
def extract(
    modality: Annotated[
        list[str] | None,
        typer.Option(help="image, video, audio (repeated or with commas), or all. [default: all]"),
    ] = None,
    dataset: Dataset = None,
    data: Annotated[
        str | None, typer.Option(help="The dataset's folder, or a table (JSONL, CSV, Parquet).")
    ] = None,
    adapter: Annotated[
        str | None, typer.Option(help="vqav2, mustard or table. [default: by name or file]")
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(help="The adapter's options, NAME=VALUE: protocol=speaker-dependent, fold=2."),
    ] = None,
    column: Annotated[
        list[str] | None, typer.Option(help="A table's column by another name: text=question.")
    ] = None,
    encoder: Annotated[
        list[str] | None,
        typer.Option(
            help="[MODALITY=]hub id, folder, or open_clip:MODEL[:TAG or file]; pixels or samples "
            "[:ENCODER] keeps decoded media, for finetune."
        ),
    ] = None,
    fields: Annotated[
        list[str] | None,
        typer.Option(help="[MODALITY=]fields to keep: pooler,cls,sequence,average."),
    ] = None,
    frames: Annotated[int | None, typer.Option(help="Frames a video. [default: 8]")] = None,
    fps: Annotated[float | None, typer.Option(help="Frames a second, instead of --frames.")] = None,
    format: Annotated[  # noqa: A002
        str | None, typer.Option(help="arrow or hdf5. [default: arrow]")
    ] = None,
    compute_dtype: Annotated[
        str | None, typer.Option(help="float32, bfloat16, float16. [default: float32]")
    ] = None,
    storage_dtype: Annotated[
        str | None, typer.Option(help="float16 or float32. [default: float16]")
    ] = None,
    batch_size: Annotated[int | None, typer.Option(help="Items a pass. [default: 32]")] = None,
    workers: Annotated[int | None, typer.Option(help="Decoding threads. [default: cores]")] = None,
    shard_rows: Annotated[int | None, typer.Option(help="Media a shard.")] = None,
    limit: Annotated[int | None, typer.Option(help="Examples of each split, for a trial.")] = None,
    max_failures: Annotated[
        int | None, typer.Option(help="Succeed if at most so many media fail. [default: 0]")
    ] = None,
    retry_failures: Annotated[
        bool | None, typer.Option("--retry-failures", help="Try again what failed before.")
    ] = None,
    max_pixels: Annotated[int | None, typer.Option(help="Refuse larger images.")] = None,
    max_seconds: Annotated[float | None, typer.Option(help="Refuse longer clips.")] = None,
    max_bytes: Annotated[int | None, typer.Option(help="Refuse larger files.")] = None,
    device: Device = None,
    cache: Cache = None,
) -> None:
    """Run frozen encoders over a dataset once and keep their features in the cache."""
    from .commands.extract import run_extraction
    from .config import ConfigFile
    from .extract.settings import ExtractSettings

    config = ConfigFile.read(Path())
    workspace = config.workspace(dataset=dataset, data=data, cache=cache)
    modalities = modality_names(modality)
    settings = config.settings(
        "extract",
        ExtractSettings,
        modality=modalities,
        adapter=adapter,
        options=adapter_options(option, column),
        encoder=by_modality("--encoder", encoder, modalities),
        fields=by_modality("--fields", fields, modalities),
        frames=frames,
        fps=fps,
        format=format,
        compute_dtype=compute_dtype,
        storage_dtype=storage_dtype,
        batch_size=batch_size,
        workers=workers,
        shard_rows=shard_rows,
        limit=limit,
        max_failures=max_failures,
        retry_failures=retry_failures,
        max_pixels=max_pixels,
        max_seconds=max_seconds,
        max_bytes=max_bytes,
        device=device,
    )
    if not run_extraction(config, workspace, settings):
        raise typer.Exit(1)


@app.command(
    epilog="Examples: `pfcli train --method blindprompt --shots 16` · `pfcli train --method "
    "promptfuse --seeds 3 --preset mustard_low --shots 32` · `pfcli train --resume 12`"
)
def train(
    method: Annotated[
        str | None,
        typer.Option(
            help="promptfuse, blindprompt, blackimage, noprompt, linear, jointproj, finetune. "
            "[default: promptfuse]"
        ),
    ] = None,
    shots: Annotated[int | None, typer.Option(help="Training examples. [default: all]")] = None,
    shot_sampling: Annotated[
        str | None, typer.Option(help="stratified, or paper (first in file). [default: stratified]")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Initialisation seed. [default: 0]")] = None,
    seeds: Annotated[
        int | None, typer.Option(help="So many runs side by side, seed, seed + 1, … [default: 1]")
    ] = None,
    data_seed: Annotated[
        int | None, typer.Option(help="Seed of the shots. [default: each run's seed]")
    ] = None,
    dataset: Dataset = None,
    modalities: Annotated[
        list[str] | None, typer.Option(help="What to fuse. [default: all that the cache holds]")
    ] = None,
    features: Annotated[
        list[str] | None, typer.Option(help="MODALITY=FINGERPRINT, where the cache holds several.")
    ] = None,
    fields: Annotated[
        list[str] | None, typer.Option(help="MODALITY=FIELD, such as image=cls.")
    ] = None,
    width_fix: Annotated[
        str | None, typer.Option(help="none, pad or orthogonal, where widths differ.")
    ] = None,
    plm: Annotated[
        str | None,
        typer.Option(help="Hub id or folder: BART, T5 or BERT. [default: facebook/bart-base]"),
    ] = None,
    plm_dtype: Annotated[
        str | None, typer.Option(help="float32 or bfloat16. [default: float32]")
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            help="vqav2_full, vqav2_low, mustard_full, mustard_low, demo_vqa, demo_mustard."
        ),
    ] = None,
    prompt_length: Annotated[int | None, typer.Option(help="Vectors. [default: 20]")] = None,
    prompt_init: Annotated[
        str | None, typer.Option(help="tokens or random. [default: tokens]")
    ] = None,
    prompt_position: Annotated[
        str | None, typer.Option(help="start, middle (before the text) or end. [default: start]")
    ] = None,
    prompt_encoder: Annotated[
        str | None, typer.Option(help="none, linear or lstm. [default: none]")
    ] = None,
    visibility: Annotated[
        str | None, typer.Option(help="full, blind or reverse. [default: the method's own]")
    ] = None,
    pool: Annotated[
        str | None,
        typer.Option(
            help="Video and audio over time: after-norm, before-norm or none. [default: after-norm]"
        ),
    ] = None,
    train_norms: Annotated[
        bool | None,
        typer.Option("--train-norms", help="Train the prompt's and the media's layer norms too."),
    ] = None,
    lr_prompt: Annotated[
        float | None, typer.Option("--lr", "--lr-prompt", help="Adam's, for the prompt.")
    ] = None,
    lr_other: Annotated[float | None, typer.Option(help="Adam's, for all else trained.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Examples a step.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the examples.")] = None,
    max_steps: Annotated[int | None, typer.Option(help="End training earlier.")] = None,
    split: Annotated[str | None, typer.Option(help="Train on it. [default: train]")] = None,
    checkpoint_every: Annotated[int | None, typer.Option(help="Steps. [default: 200]")] = None,
    resume: Annotated[
        str | None, typer.Option(metavar="RUN", help="Go on with an interrupted run.")
    ] = None,
    device: Device = None,
    threads: Threads = None,
    cache: Cache = None,
    runs: Runs = None,
) -> None:
    """Train a prompt on cached features, in front of a frozen language model."""
    from .commands.train import resume_training, run_training
    from .config import ConfigFile
    from .train.settings import TrainSettings

    config = ConfigFile.read(Path())
    workspace = config.workspace(dataset=dataset, cache=cache, runs=runs)
    settings = config.settings(
        "train",
        TrainSettings,
        method=method,
        shots=shots,
        shot_sampling=shot_sampling,
        seed=seed,
        seeds=seeds,
        data_seed=data_seed,
        modalities=modality_names(modalities),
        features=by_modality("--features", features, None),
        fields=by_modality("--fields", fields, None),
        width_fix=width_fix,
        plm=plm,
        plm_dtype=plm_dtype,
        preset=preset,
        prompt_length=prompt_length,
        prompt_init=prompt_init,
        prompt_position=prompt_position,
        prompt_encoder=prompt_encoder,
        visibility=visibility,
        pool=pool,
        train_norms=train_norms,
        lr_prompt=lr_prompt,
        lr_other=lr_other,
        batch_size=batch_size,
        epochs=epochs,
        max_steps=max_steps,
        split=split,
        checkpoint_every=checkpoint_every,
        device=device,
        threads=threads,
    )
    if resume is None:
        folders = run_training(workspace, settings)
    else:
        folders = resume_training(workspace, resume, settings)
    _next(f"pfcli eval {folders[0].name}" if len(folders) > 1 else "pfcli eval")


@app.command(
    name="eval",
    epilog="Examples: `pfcli eval` · `pfcli eval 3 --split val` · "
    "`pfcli eval pf/runs/0003-demo-mustard-blindprompt-16shots-seed0`",
)
def evaluate(
    run: Annotated[
        str | None, typer.Argument(help="A run's folder, name or number. [default: the latest]")
    ] = None,
    split: Annotated[str | None, typer.Option(help="[default: test; val for VQA]")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Examples. [default: 128]")] = None,
    max_new_tokens: Annotated[int | None, typer.Option(help="Of an answer. [default: 10]")] = None,
    device: Device = None,
    threads: Threads = None,
    cache: Cache = None,
    runs: Runs = None,
) -> None:
    """Answer a split with a trained prompt and score it beside the trivial answers."""
    from .commands.train import run_evaluation
    from .config import ConfigFile
    from .train.settings import EvalSettings

    config = ConfigFile.read(Path())
    settings = config.settings(
        "eval",
        EvalSettings,
        split=split,
        batch_size=batch_size,
        max_new_tokens=max_new_tokens,
        device=device,
        threads=threads,
    )
    run_evaluation(config.workspace(cache=cache, runs=runs), run, settings)
    _next("pfcli train --method promptfuse, to compare; pfcli inspect, to see the cache")


@app.command(
    epilog="Examples: `pfcli sweep --method promptfuse,blindprompt --shots 8,32,full --seeds 3` · "
    "`pfcli sweep --set prompt_length=5,10,20` · `pfcli sweep --grid grid.toml` · "
    "`pfcli sweep --preset table4 --dataset demo-mustard`"
)
def sweep(
    method: Annotated[
        list[str] | None, typer.Option(help="Methods (repeated or with commas).")
    ] = None,
    shots: Annotated[list[str] | None, typer.Option(help="Sizes, and full: 8,32,full.")] = None,
    seeds: Annotated[
        int | None, typer.Option(help="Runs of each cell, trained side by side.")
    ] = None,
    set: Annotated[  # noqa: A002
        list[str] | None,
        typer.Option(
            help="Any setting of train, NAME=VALUE,VALUE; lists as a+b, fields=image:cls."
        ),
    ] = None,
    grid: Annotated[
        str | None, typer.Option(help="A TOML file: method, shots, seeds, [set], [[variants]].")
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(help="The paper's table2, table4, table5, table6 or table7."),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Of the sweep's folder. [default: by preset and dataset]")
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(help="Cells trained at once. [default: 1; processors for embedded datasets]"),
    ] = None,
    dataset: Dataset = None,
    device: Device = None,
    threads: Threads = None,
    cache: Cache = None,
    runs: Runs = None,
    sweeps: Sweeps = None,
) -> None:
    """Train and evaluate a grid of runs; the same command goes on where it stopped."""
    from .commands.sweep import choice_from_file, choice_from_options, run_sweep_command
    from .config import ConfigFile
    from .train.settings import EvalSettings, TrainSettings

    config = ConfigFile.read(Path())
    choice = choice_from_options(method=method, shots=shots, seeds=seeds, settings=set)
    if grid is not None:
        choice = choice.over(choice_from_file(Path(grid)))
    record = run_sweep_command(
        config.workspace(dataset=dataset, cache=cache, runs=runs, sweeps=sweeps),
        config.settings("train", TrainSettings, device=device, threads=threads),
        config.settings("eval", EvalSettings, device=device, threads=threads),
        choice,
        preset=preset,
        name=name,
        jobs=jobs,
    )
    _next(f"pfcli report --sweep {record.name}")
    if record.failed:
        raise typer.Exit(1)


@app.command(
    epilog="Examples: `pfcli report` · `pfcli report --sweep table4-demo-mustard --format html` · "
    "`pfcli report --table 4 --format latex --output table4.tex`"
)
def report(
    sweep: Annotated[
        str | None, typer.Option(help="Report this sweep. [default: every run]")
    ] = None,
    format: Annotated[  # noqa: A002
        Literal["text", "markdown", "latex", "csv", "html"], typer.Option(help="How to write it.")
    ] = "text",
    table: Annotated[
        int | None, typer.Option(help="The paper's table 1, 2, 4, 5, 6 or 7. [default: all]")
    ] = None,
    output: Annotated[
        str | None, typer.Option(help="The file to write. [default: print; pf/report.html]")
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="The dataset's folder, for pictures in the page.")
    ] = None,
    max_images: Annotated[int, typer.Option(help="Pictures in the page.")] = 60,
    cache: Cache = None,
    runs: Runs = None,
    sweeps: Sweeps = None,
) -> None:
    """Turn evaluated runs into the paper's tables, or into one page with curves and answers."""
    from .commands.report import ReportRequest, run_report
    from .config import ConfigFile

    workspace = ConfigFile.read(Path()).workspace(data=data, cache=cache, runs=runs, sweeps=sweeps)
    run_report(workspace, ReportRequest(sweep, format, table, output, max_images))


@app.command(epilog="Examples: `pfcli demo` · `pfcli demo --seeds 1`")
def demo(
    seeds: Annotated[int, typer.Option(help="Runs of each method.")] = 3,
    cache: Cache = None,
    runs: Runs = None,
) -> None:
    """Do the whole job on the embedded data: extract, train four methods, print the tables."""
    from .commands.demo import run_demo
    from .config import ConfigFile

    run_demo(ConfigFile.read(Path()).workspace(cache=cache, runs=runs), seeds=seeds)
    _next("your own data: pfcli extract --help")


@app.command(
    epilog="Examples: `pfcli params --plm bart-base --encoder vit-base` · `pfcli params --plm "
    "facebook/bart-large`"
)
def params(
    plm: Annotated[
        str,
        typer.Option(help="bart-base, bart-large, t5-base, bert-base, a folder or a hub id."),
    ] = "bart-base",
    encoder: Annotated[
        str, typer.Option(help="Of images and video: vit-base, a folder or a hub id.")
    ] = "vit-base",
    audio_encoder: Annotated[
        str, typer.Option(help="Of sound: wav2vec2-base, a folder or a hub id.")
    ] = "wav2vec2-base",
    prompt_length: Annotated[int, typer.Option(help="Vectors.")] = 20,
) -> None:
    """Count what each method would train, from the models' shapes alone (table 1)."""
    from .commands.params import run_params

    run_params(plm=plm, encoder=encoder, audio_encoder=audio_encoder, prompt_length=prompt_length)


@app.command(epilog="Example: `pfcli inspect`")
def inspect(cache: Cache = None) -> None:
    """Show what the cache holds: datasets, feature sets, rows, fields, sizes, failures."""
    from .commands.cache import run_inspect

    run_inspect(_cache_root(cache))
    _next("pfcli train")


@app.command(epilog="Examples: `pfcli verify` · `pfcli verify --repair`")
def verify(
    repair: Annotated[
        bool, typer.Option("--repair", help="Give up damaged shards, to be extracted anew.")
    ] = False,
    cache: Cache = None,
) -> None:
    """Rehash every shard and compare it with what was committed."""
    from .commands.cache import run_verify

    if not run_verify(_cache_root(cache), mend=repair):
        raise typer.Exit(1)


@app.command(epilog="Example: `pfcli convert --format hdf5`")
def convert(
    format: Annotated[Literal["arrow", "hdf5"], typer.Option(help="The shards' new format.")],  # noqa: A002
    cache: Cache = None,
) -> None:
    """Rewrite the cache's shards in the other format; no value changes."""
    from .commands.cache import run_convert

    run_convert(_cache_root(cache), format)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"promptfuse {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def _cache_root(cache: str | None) -> Path:
    from .config import ConfigFile

    return Path(ConfigFile.read(Path()).workspace(cache=cache).cache)


def _next(command: str) -> None:
    typer.echo(f"next: {command}")


def main() -> None:
    """Run `pfcli`; print a user's errors without a traceback and exit with status 2."""
    try:
        app()
    except (PromptFuseError, OSError) as error:  # OSError: a full disk, a folder without permission
        typer.echo(f"error: {error}", err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
