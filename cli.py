"""`pfcli`: parses, calls, prints. Heavy libraries are imported by the command that needs them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from . import __version__
from . import cli_options as opt
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


@app.command(
    epilog="Examples: `pfcli extract --modality video` · `pfcli extract --dataset vqav2 --data "
    "/data/vqa --modality image` · `pfcli extract --dataset mine --data mine.jsonl --modality "
    "image --encoder open_clip:ViT-B-32`"
)
def extract(
    modality: opt.Modality = None,
    dataset: opt.Dataset = None,
    data: opt.ExtractData = None,
    adapter: opt.Adapter = None,
    option: opt.Option = None,
    column: opt.Column = None,
    encoder: opt.ExtractEncoder = None,
    fields: opt.ExtractFields = None,
    frames: opt.Frames = None,
    fps: opt.Fps = None,
    format: opt.ExtractFormat = None,  # noqa: A002
    compute_dtype: opt.ComputeDtype = None,
    storage_dtype: opt.StorageDtype = None,
    batch_size: opt.ExtractBatchSize = None,
    workers: opt.Workers = None,
    shard_rows: opt.ShardRows = None,
    limit: opt.Limit = None,
    max_failures: opt.MaxFailures = None,
    retry_failures: opt.RetryFailures = None,
    max_pixels: opt.MaxPixels = None,
    max_seconds: opt.MaxSeconds = None,
    max_bytes: opt.MaxBytes = None,
    device: opt.Device = None,
    cache: opt.Cache = None,
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
    method: opt.TrainMethod = None,
    shots: opt.TrainShots = None,
    shot_sampling: opt.ShotSampling = None,
    dev: opt.Dev = None,
    seed: opt.Seed = None,
    seeds: opt.TrainSeeds = None,
    data_seed: opt.DataSeed = None,
    dataset: opt.Dataset = None,
    modalities: opt.Modalities = None,
    features: opt.Features = None,
    fields: opt.TrainFields = None,
    width_fix: opt.WidthFix = None,
    plm: opt.TrainPlm = None,
    plm_dtype: opt.PlmDtype = None,
    preset: opt.TrainPreset = None,
    prompt_length: opt.TrainPromptLength = None,
    prompt_init: opt.PromptInit = None,
    prompt_position: opt.PromptPosition = None,
    prompt_encoder: opt.PromptEncoder = None,
    visibility: opt.Visibility = None,
    pool: opt.Pool = None,
    train_norms: opt.TrainNorms = None,
    lr_prompt: opt.LrPrompt = None,
    lr_other: opt.LrOther = None,
    batch_size: opt.TrainBatchSize = None,
    epochs: opt.Epochs = None,
    max_steps: opt.MaxSteps = None,
    split: opt.TrainSplit = None,
    fold: opt.Fold = None,
    checkpoint_every: opt.CheckpointEvery = None,
    resume: opt.Resume = None,
    device: opt.Device = None,
    threads: opt.Threads = None,
    cache: opt.Cache = None,
    runs: opt.Runs = None,
) -> None:
    """Train a prompt on cached features, in front of a frozen language model."""
    from .commands.train import run_training
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
        dev=dev,
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
        fold=fold,
        checkpoint_every=checkpoint_every,
        device=device,
        threads=threads,
    )
    trained = run_training(workspace, settings, resume)
    _next(f"pfcli eval {trained[0].name}" if len(trained) > 1 else "pfcli eval")


@app.command(
    name="eval",
    epilog="Examples: `pfcli eval` · `pfcli eval 3 --split val` · "
    "`pfcli eval pf/runs/0003-jokes-blindprompt-16shots-seed0`",
)
def evaluate(
    run: opt.Run = None,
    split: opt.EvalSplit = None,
    batch_size: opt.EvalBatchSize = None,
    max_new_tokens: opt.MaxNewTokens = None,
    device: opt.Device = None,
    threads: opt.Threads = None,
    cache: opt.Cache = None,
    runs: opt.Runs = None,
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
    epilog="Examples: `pfcli explain` · `pfcli explain 3 --example 42011000 --example 42011001` · "
    "`pfcli explain promptfuse-run --example 1_60 --split test`"
)
def explain(
    run: opt.ExplainRun = None,
    example: opt.ExampleIds = None,
    split: opt.EvalSplit = None,
    baseline: opt.Baseline = "black",
    max_steps: opt.PathSteps = 1600,
    data: opt.ExplainData = None,
    encoder: opt.ExplainEncoder = None,
    device: opt.Device = None,
    threads: opt.Threads = None,
    cache: opt.Cache = None,
    runs: opt.Runs = None,
) -> None:
    """Show which pixels, frames, sounds and words an answer rests on, method beside method."""
    from .commands.explain import ExplainRequest, run_explain
    from .config import ConfigFile

    workspace = ConfigFile.read(Path()).workspace(data=data, cache=cache, runs=runs)
    request = ExplainRequest(
        tuple(example or ()),
        split,
        baseline,
        max_steps,
        by_modality("--encoder", encoder, None),
        device or "auto",
        threads,
    )
    run_explain(workspace, run, request)
    _next("pfcli report --format html, which shows what was explained")


@app.command(
    epilog="Examples: `pfcli export` · `pfcli export 3 --output jokes.safetensors` · "
    "`pfcli export 3 --format peft --output jokes-peft`"
)
def export(
    run: opt.ExportRun = None,
    output: opt.ExportOutput = None,
    format: opt.ExportFormat = "safetensors",  # noqa: A002
    cache: opt.Cache = None,
    runs: opt.Runs = None,
) -> None:
    """Write a trained prompt as one small file to share, or as a folder that PEFT loads."""
    from .commands.export import run_export
    from .config import ConfigFile

    path = run_export(
        ConfigFile.read(Path()).workspace(cache=cache, runs=runs), run, output, format
    )
    if format == "safetensors":
        _next(f'pfcli predict {path} FILE --text "QUESTION"')


@app.command(
    epilog='Examples: `pfcli predict 3 clip.mp4 --text "Oh, great."` · `pfcli predict '
    'shared.safetensors cat.jpg dog.jpg --text "what colour is it?" --output answers.jsonl` · '
    "`pfcli predict 3 rows.jsonl`"
)
def predict(
    run: opt.PredictRun,
    files: opt.Files,
    text: opt.Text = None,
    column: opt.Column = None,
    output: opt.PredictOutput = None,
    encoder: opt.PredictEncoder = None,
    plm: opt.PredictPlm = None,
    batch_size: opt.EvalBatchSize = None,
    max_new_tokens: opt.MaxNewTokens = None,
    device: opt.Device = None,
    threads: opt.Threads = None,
    cache: opt.Cache = None,
    runs: opt.Runs = None,
) -> None:
    """Answer about new media with a trained prompt; what is not in the cache is encoded first."""
    from .commands.predict import PredictRequest, run_prediction
    from .config import ConfigFile
    from .train.settings import EvalSettings

    config = ConfigFile.read(Path())
    settings = config.settings(
        "eval",
        EvalSettings,
        batch_size=batch_size,
        max_new_tokens=max_new_tokens,
        device=device,
        threads=threads,
    )
    request = PredictRequest(
        run=run,
        files=tuple(files),
        text=text,
        options=adapter_options(None, column) or {},
        encoder=tuple(encoder or ()),
        plm=plm,
        output=output,
    )
    if not run_prediction(config.workspace(cache=cache, runs=runs), request, settings):
        raise typer.Exit(1)


@app.command(
    epilog="Examples: `pfcli sweep --method promptfuse,blindprompt --shots 8,32,full --seeds 3` · "
    "`pfcli sweep --set prompt_length=5,10,20` · `pfcli sweep --grid grid.toml` · "
    "`pfcli sweep --preset table4 --dataset mustard`"
)
def sweep(
    method: opt.SweepMethod = None,
    shots: opt.SweepShots = None,
    seeds: opt.SweepSeeds = None,
    set: opt.Set = None,  # noqa: A002
    grid: opt.Grid = None,
    preset: opt.SweepPreset = None,
    name: opt.Name = None,
    jobs: opt.Jobs = None,
    split: opt.SweepSplit = None,
    dataset: opt.Dataset = None,
    device: opt.Device = None,
    threads: opt.Threads = None,
    cache: opt.Cache = None,
    runs: opt.Runs = None,
    sweeps: opt.Sweeps = None,
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
        config.settings("eval", EvalSettings, split=split, device=device, threads=threads),
        choice,
        preset=preset,
        name=name,
        jobs=jobs,
    )
    _next(f"pfcli report --sweep {record.name}")
    if record.failed:
        raise typer.Exit(1)


@app.command(
    epilog="Examples: `pfcli report` · `pfcli report --sweep table4-mustard --format html` · "
    "`pfcli report --table 4 --format latex --output table4.tex`"
)
def report(
    sweep: opt.Sweep = None,
    format: opt.ReportFormat = "text",  # noqa: A002
    table: opt.Table = None,
    split: opt.ReportSplit = None,
    output: opt.Output = None,
    data: opt.ReportData = None,
    max_images: opt.MaxImages = 60,
    cache: opt.Cache = None,
    runs: opt.Runs = None,
    sweeps: opt.Sweeps = None,
) -> None:
    """Turn evaluated runs into the paper's tables, or into one page with curves and answers."""
    from .commands.report import ReportRequest, run_report
    from .config import ConfigFile

    workspace = ConfigFile.read(Path()).workspace(data=data, cache=cache, runs=runs, sweeps=sweeps)
    run_report(workspace, ReportRequest(sweep, format, table, output, max_images, split))


@app.command(epilog="Examples: `pfcli demo` · `pfcli demo --seeds 1`")
def demo(
    seeds: opt.DemoSeeds = 3,
    cache: opt.Cache = None,
    runs: opt.Runs = None,
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
    plm: opt.ParamsPlm = "bart-base",
    encoder: opt.ParamsEncoder = "vit-base",
    audio_encoder: opt.AudioEncoder = "wav2vec2-base",
    prompt_length: opt.ParamsPromptLength = 20,
) -> None:
    """Count what each method would train, from the models' shapes alone (table 1)."""
    from .commands.params import run_params

    run_params(plm=plm, encoder=encoder, audio_encoder=audio_encoder, prompt_length=prompt_length)


@app.command(epilog="Example: `pfcli inspect`")
def inspect(cache: opt.Cache = None) -> None:
    """Show what the cache holds: datasets, feature sets, rows, fields, sizes, failures."""
    from .commands.cache import run_inspect

    run_inspect(_cache_root(cache))
    _next("pfcli train")


@app.command(epilog="Examples: `pfcli verify` · `pfcli verify --repair`")
def verify(
    repair: opt.Repair = False,
    cache: opt.Cache = None,
) -> None:
    """Rehash every shard and compare it with what was committed."""
    from .commands.cache import run_verify

    if not run_verify(_cache_root(cache), mend=repair):
        raise typer.Exit(1)


@app.command(epilog="Example: `pfcli convert --format hdf5`")
def convert(
    format: opt.ConvertFormat,  # noqa: A002
    cache: opt.Cache = None,
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
