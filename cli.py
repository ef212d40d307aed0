"""`pfcli`: one function a command, whose options are the fields of its settings class."""

import gc
import sys
from typing import Annotated

import typer

from . import __version__
from .benchmarks import BENCHES
from .commands.command_line import Call, command
from .commands.keeping import KEEPING
from .errors import PromptFuseError, Stopped
from .stopping import EXIT_STOPPED

app = typer.Typer(
    name="pfcli",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Fuse image, video, audio and text by training a few prompt vectors in front of a frozen "
    "language model. The encoders run once (extract); prompts train on what they wrote (train).",
    epilog="Start: `pfcli extract --modality video`, `pfcli train --method blindprompt "
    "--shots 16`, `pfcli eval`. Settings can also stand in promptfuse.toml.",
)

# Imports make some 450,000 objects that all stay: looking for garbage among them again and again
# took a fifth of their time, and neither training nor encoding makes cycles.
_COLLECTIONS = (100_000, 50, 50)

_RUN = "A run's folder, name or number"
Run = Annotated[str | None, typer.Argument(help=f"{_RUN}. [default: the latest]")]
RunOrFile = Annotated[
    str | None, typer.Argument(help=f"{_RUN}, or an exported file. [default: the latest]")
]


@command(app, "extract")
def extract(call: Call) -> bool:
    """Run frozen encoders over a dataset once and keep their features in the cache.

    Examples: `pfcli extract --modality video` · `pfcli extract --dataset vqav2 --data /data/vqa
    --modality image` · `pfcli extract --dataset mine --data mine.jsonl --modality image --encoder
    open_clip:ViT-B-32`
    """
    from .commands.extract import run_extraction

    return run_extraction(call.config, call.workspace, call.settings)


@command(app, "train")
def train(
    call: Call,
    resume: Annotated[
        str | None, typer.Option(metavar="RUN", help="Go on with an interrupted run.")
    ] = None,
) -> None:
    """Train a prompt on cached features, in front of a frozen language model.

    Examples: `pfcli train --method blindprompt --shots 16` · `pfcli train --method promptfuse
    --seeds 3 --preset mustard_low --shots 32` · `pfcli train --resume 12`
    """
    from .commands.train import run_training

    run_training(call.workspace, call.settings, resume, call.typed)


@command(app, "eval")
def evaluate(call: Call, run: Run = None) -> None:
    """Answer a split with a trained prompt and score it beside the trivial answers.

    Examples: `pfcli eval` · `pfcli eval 3 --split val` · `pfcli eval
    pf/runs/0003-jokes-blindprompt-16shots-seed0`
    """
    from .commands.train import run_evaluation

    run_evaluation(call.workspace, run, call.settings)


@command(app, "explain")
def explain(call: Call, run: Run = None) -> None:
    """Show which pixels, frames, sounds and words an answer rests on, method beside method.

    Examples: `pfcli explain` · `pfcli explain 3 --example 42011000 --example 42011001` · `pfcli
    explain promptfuse-run --example 1_60 --split test`
    """
    from .commands.explain import run_explain

    run_explain(call.workspace, run, call.settings)


@command(app, "export")
def export(call: Call, run: RunOrFile = None) -> None:
    """Write a trained prompt as one small file to share, or as a folder that PEFT loads.

    Examples: `pfcli export` · `pfcli export 3 --output jokes.safetensors` · `pfcli export 3
    --format peft --output jokes-peft`
    """
    from .commands.prompts import run_export

    run_export(call.workspace, run, call.settings)


@command(app, "predict")
def predict(
    call: Call,
    run: Annotated[str, typer.Argument(help=f"{_RUN}, or an exported file.")],
    files: Annotated[
        list[str],
        typer.Argument(metavar="FILE", help="Images or clips, or one table (JSONL, CSV, Parquet)."),
    ],
) -> bool:
    """Answer about new media with a trained prompt; what is not in the cache is encoded first.

    Examples: `pfcli predict 3 clip.mp4 --text "Oh, great."` · `pfcli predict shared.safetensors
    cat.jpg dog.jpg --text "what colour is it?" --output answers.jsonl` · `pfcli predict 3
    rows.jsonl`
    """
    from .commands.prompts import run_prediction

    return run_prediction(call.workspace, run, tuple(files), call.settings)


@command(app, "sweep")
def sweep(call: Call) -> bool:
    """Train and evaluate a grid of runs; the same command goes on where it stopped.

    Examples: `pfcli sweep --method promptfuse,blindprompt --shots 8,32,full --seeds 3` · `pfcli
    sweep --set prompt_length=5,10,20` · `pfcli sweep --grid grid.toml` · `pfcli sweep --preset
    table4 --dataset mustard`
    """
    from .commands.sweep import run_sweep_command

    return not run_sweep_command(call.config, call.workspace, call.settings).failed


@command(app, "report")
def report(call: Call) -> None:
    """Turn evaluated runs into the paper's tables, or into one page with curves and answers.

    Examples: `pfcli report` · `pfcli report --sweep table4-mustard --format html` · `pfcli report
    --table 4 --format latex --output table4.tex`
    """
    from .commands.report import run_report

    run_report(call.workspace, call.settings)


@command(app, "demo")
def demo(call: Call) -> None:
    """Do the whole job on the embedded data: extract, train four methods, print the tables.

    Examples: `pfcli demo` · `pfcli demo --seeds 1`
    """
    from .commands.demo import run_demo

    run_demo(call.workspace, seeds=call.settings.seeds)
    typer.echo("next: your own data: pfcli extract --help")


@command(app, "params")
def params(call: Call) -> None:
    """Count what each method would train, from the models' shapes alone (table 1).

    Examples: `pfcli params --plm bart-base --encoder vit-base` · `pfcli params --plm
    facebook/bart-large`
    """
    from .commands.params import run_params

    run_params(call.settings)


@command(app, "inspect")
def inspect_cache(call: Call) -> None:
    """Show what the cache holds: datasets, feature sets, rows, fields, sizes, failures.

    Example: `pfcli inspect`
    """
    from .commands.cache import run_inspect

    run_inspect(call.workspace)


@command(app, "verify")
def verify(call: Call) -> bool:
    """Rehash every shard and compare it with what was committed.

    Examples: `pfcli verify` · `pfcli verify --repair`
    """
    from .commands.cache import run_verify

    return run_verify(call.workspace, mend=call.settings.repair)


@command(app, "convert")
def convert(call: Call) -> None:
    """Rewrite the cache's shards in the other format; no value changes.

    Example: `pfcli convert --format hdf5`
    """
    from .commands.cache import run_convert

    run_convert(call.workspace, call.settings.format)


@command(app, "bench")
def bench(
    call: Call,
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help=f"{', '.join(BENCHES)}.")
    ] = None,
) -> None:
    """Measure promptfuse beside its peers and this machine's own floor; best on idle cores.

    Examples: `pfcli bench` · `pfcli bench step sweep --device cuda` · `pfcli bench cache
    --markdown`
    """
    from .commands.bench import run_bench

    run_bench(names or (), call.settings)


for _name, _function in KEEPING.items():
    command(app, _name)(_function)


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        typer.echo(f"promptfuse {__version__}")
        raise typer.Exit


def main() -> None:
    """Run `pfcli`; print a user's errors without a traceback and exit with status 2.

    What ended early and in order exits with status 75.
    """
    gc.set_threshold(*_COLLECTIONS)
    try:
        app()
    except Stopped as stopped:
        typer.echo(str(stopped), err=True)
        sys.exit(EXIT_STOPPED)
    except (PromptFuseError, OSError) as error:  # OSError: a full disk, a folder without permission
        typer.echo(f"error: {error}", err=True)
        sys.exit(2)
