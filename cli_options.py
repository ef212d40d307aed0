"""The options of `pfcli`: what each is typed as and what its help says."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

Dataset = Annotated[
    str | None,
    typer.Option(help="The dataset: mustard, vqav2, a row of promptfuse.toml or any name."),
]
Cache = Annotated[str | None, typer.Option(help="The cache's folder. [default: pf/cache]")]
Runs = Annotated[str | None, typer.Option(help="The runs' folder. [default: pf/runs]")]
Sweeps = Annotated[str | None, typer.Option(help="The sweeps' folder. [default: pf/sweeps]")]
Device = Annotated[str | None, typer.Option(help="auto, cpu, cuda, … [default: auto]")]
Threads = Annotated[
    int | None, typer.Option(help="CPU threads. [default: torch's; 1 for small models]")
]

# pfcli extract
Modality = Annotated[
    list[str] | None,
    typer.Option(help="image, video, audio (repeated or with commas), or all. [default: all]"),
]
ExtractData = Annotated[
    str | None, typer.Option(help="The dataset's folder, or a table (JSONL, CSV, Parquet).")
]
Adapter = Annotated[
    str | None, typer.Option(help="vqav2, mustard or table. [default: by name or file]")
]
Option = Annotated[
    list[str] | None,
    typer.Option(help="The adapter's options, NAME=VALUE: positive=True."),
]
Column = Annotated[
    list[str] | None, typer.Option(help="A table's column by another name: text=question.")
]
ExtractEncoder = Annotated[
    list[str] | None,
    typer.Option(
        help="[MODALITY=]hub id, folder, or open_clip:MODEL[:TAG or file]; pixels or samples "
        "[:ENCODER] keeps decoded media, for finetune."
    ),
]
ExtractFields = Annotated[
    list[str] | None,
    typer.Option(help="[MODALITY=]fields to keep: pooler,cls,sequence,average."),
]
Frames = Annotated[int | None, typer.Option(help="Frames a video. [default: 8]")]
Fps = Annotated[float | None, typer.Option(help="Frames a second, instead of --frames.")]
ExtractFormat = Annotated[str | None, typer.Option(help="arrow or hdf5. [default: arrow]")]
ComputeDtype = Annotated[
    str | None, typer.Option(help="float32, bfloat16, float16. [default: float32]")
]
StorageDtype = Annotated[str | None, typer.Option(help="float16 or float32. [default: float16]")]
ExtractBatchSize = Annotated[int | None, typer.Option(help="Items a pass. [default: 32]")]
Workers = Annotated[int | None, typer.Option(help="Decoding threads. [default: cores]")]
ShardRows = Annotated[int | None, typer.Option(help="Media a shard.")]
Limit = Annotated[int | None, typer.Option(help="Examples of each split, for a trial.")]
MaxFailures = Annotated[
    int | None, typer.Option(help="Succeed if at most so many media fail. [default: 0]")
]
RetryFailures = Annotated[
    bool | None, typer.Option("--retry-failures", help="Try again what failed before.")
]
MaxPixels = Annotated[int | None, typer.Option(help="Refuse larger images.")]
MaxSeconds = Annotated[float | None, typer.Option(help="Refuse longer clips.")]
MaxBytes = Annotated[int | None, typer.Option(help="Refuse larger files.")]

# pfcli train
TrainMethod = Annotated[
    str | None,
    typer.Option(
        help="promptfuse, blindprompt, blackimage, noprompt, linear, jointproj, finetune. "
        "[default: promptfuse]"
    ),
]
TrainShots = Annotated[int | None, typer.Option(help="Training examples. [default: all]")]
ShotSampling = Annotated[
    str | None, typer.Option(help="stratified, or paper (first in file). [default: stratified]")
]
Dev = Annotated[
    int | None, typer.Option(help="Set so many training examples aside: eval --split dev.")
]
Seed = Annotated[int | None, typer.Option(help="Initialisation seed. [default: 0]")]
TrainSeeds = Annotated[
    int | None, typer.Option(help="So many runs side by side, seed, seed + 1, … [default: 1]")
]
DataSeed = Annotated[
    int | None, typer.Option(help="Seed of the shots and of --dev. [default: each run's seed]")
]
Modalities = Annotated[
    list[str] | None, typer.Option(help="What to fuse. [default: all that the cache holds]")
]
Features = Annotated[
    list[str] | None, typer.Option(help="MODALITY=FINGERPRINT, where the cache holds several.")
]
TrainFields = Annotated[list[str] | None, typer.Option(help="MODALITY=FIELD, such as image=cls.")]
WidthFix = Annotated[str | None, typer.Option(help="none, pad or orthogonal, where widths differ.")]
TrainPlm = Annotated[
    str | None,
    typer.Option(help="Hub id or folder: BART, T5 or BERT. [default: facebook/bart-base]"),
]
PlmDtype = Annotated[str | None, typer.Option(help="float32 or bfloat16. [default: float32]")]
TrainPreset = Annotated[
    str | None,
    typer.Option(help="vqav2_full, vqav2_low, mustard_full, mustard_low or a file's own."),
]
TrainPromptLength = Annotated[int | None, typer.Option(help="Vectors. [default: 20]")]
PromptInit = Annotated[str | None, typer.Option(help="tokens or random. [default: tokens]")]
PromptPosition = Annotated[
    str | None, typer.Option(help="start, middle (before the text) or end. [default: start]")
]
PromptEncoder = Annotated[str | None, typer.Option(help="none, linear or lstm. [default: none]")]
Visibility = Annotated[
    str | None, typer.Option(help="full, blind or reverse. [default: the method's own]")
]
Pool = Annotated[
    str | None,
    typer.Option(
        help="Video and audio over time: after-norm, before-norm or none. [default: after-norm]"
    ),
]
TrainNorms = Annotated[
    bool | None,
    typer.Option("--train-norms", help="Train the prompt's and the media's layer norms too."),
]
LrPrompt = Annotated[
    float | None, typer.Option("--lr", "--lr-prompt", help="Adam's, for the prompt.")
]
LrOther = Annotated[float | None, typer.Option(help="Adam's, for all else trained.")]
TrainBatchSize = Annotated[int | None, typer.Option(help="Examples a step.")]
Epochs = Annotated[int | None, typer.Option(help="Passes over the examples.")]
MaxSteps = Annotated[int | None, typer.Option(help="End training earlier.")]
TrainSplit = Annotated[str | None, typer.Option(help="Train on it. [default: train]")]
Fold = Annotated[
    int | None, typer.Option(help="Train and test on this fold's parts: 1 to 5 in mustard.")
]
CheckpointEvery = Annotated[int | None, typer.Option(help="Steps. [default: 200]")]
Resume = Annotated[str | None, typer.Option(metavar="RUN", help="Go on with an interrupted run.")]

# pfcli eval
Run = Annotated[
    str | None, typer.Argument(help="A run's folder, name or number. [default: the latest]")
]
EvalSplit = Annotated[
    str | None, typer.Option(help="dev is what the run set aside. [default: test; val for VQA]")
]
EvalBatchSize = Annotated[int | None, typer.Option(help="Examples. [default: 128]")]
MaxNewTokens = Annotated[int | None, typer.Option(help="Of an answer. [default: 10]")]

# pfcli explain
ExplainRun = Annotated[
    str | None, typer.Argument(help="A run's folder, name or number. [default: the latest]")
]
ExampleIds = Annotated[
    list[str] | None,
    typer.Option(help="Its id in the split (repeated for several). [default: the first]"),
]
Baseline = Annotated[
    Literal["black", "mean", "blur"], typer.Option(help="An image that shows nothing.")
]
PathSteps = Annotated[int, typer.Option(help="Points on the path at which refining it ends.")]
ExplainData = Annotated[str | None, typer.Option(help="The dataset's folder, with its media.")]
ExplainEncoder = Annotated[
    list[str] | None, typer.Option(help="MODALITY=where the encoder is, if not where it was.")
]

# pfcli export and pfcli predict
ExportRun = Annotated[
    str | None,
    typer.Argument(
        help="A run's folder, name or number, or an exported file. [default: the latest]"
    ),
]
ExportOutput = Annotated[
    str | None, typer.Option(help="The file or folder to write. [default: by the run's name]")
]
ExportFormat = Annotated[
    Literal["safetensors", "peft"],
    typer.Option(help="One file for pfcli predict, or a PEFT prompt-tuning folder (T5)."),
]
PredictRun = Annotated[
    str, typer.Argument(help="A run's folder, name or number, or an exported file.")
]
Files = Annotated[
    list[str],
    typer.Argument(metavar="FILE", help="Images or clips, or one table (JSONL, CSV, Parquet)."),
]
Text = Annotated[str | None, typer.Option(help="The question or utterance; a table has its own.")]
PredictOutput = Annotated[str | None, typer.Option(help="A JSONL file of the answers.")]
PredictEncoder = Annotated[
    list[str] | None, typer.Option(help="[MODALITY=]where the encoder is, if not where it was.")
]
PredictPlm = Annotated[
    str | None, typer.Option(help="Where the language model is, if not where it was.")
]

# pfcli sweep
SweepMethod = Annotated[list[str] | None, typer.Option(help="Methods (repeated or with commas).")]
SweepShots = Annotated[list[str] | None, typer.Option(help="Sizes, and full: 8,32,full.")]
SweepSeeds = Annotated[int | None, typer.Option(help="Runs of each cell, trained side by side.")]
Set = Annotated[
    list[str] | None,
    typer.Option(help="Any setting of train, NAME=VALUE,VALUE; lists as a+b, fields=image:cls."),
]
Grid = Annotated[
    str | None, typer.Option(help="A TOML file: method, shots, seeds, [set], [[variants]].")
]
SweepPreset = Annotated[
    str | None,
    typer.Option(help="The paper's table2, table4, table5, table6 or table7."),
]
Name = Annotated[
    str | None, typer.Option(help="Of the sweep's folder. [default: by preset and dataset]")
]
Jobs = Annotated[
    int | None,
    typer.Option(help="Cells trained at once. [default: 1; processors for embedded datasets]"),
]
SweepSplit = Annotated[
    str | None, typer.Option(help="Evaluate on it, such as dev. [default: test; val for VQA]")
]

# pfcli report
Sweep = Annotated[str | None, typer.Option(help="Report this sweep. [default: every run]")]
ReportFormat = Annotated[
    Literal["text", "markdown", "latex", "csv", "html"], typer.Option(help="How to write it.")
]
Table = Annotated[
    int | None, typer.Option(help="The paper's table 1, 2, 4, 5, 6 or 7. [default: all]")
]
ReportSplit = Annotated[
    str | None, typer.Option(help="Figures on it, such as dev. [default: test; val for VQA]")
]
Output = Annotated[
    str | None, typer.Option(help="The file to write. [default: print; pf/report.html]")
]
ReportData = Annotated[
    str | None, typer.Option(help="The dataset's folder, for pictures in the page.")
]
MaxImages = Annotated[int, typer.Option(help="Pictures in the page.")]

# pfcli demo
DemoSeeds = Annotated[int, typer.Option(help="Runs of each method.")]

# pfcli params
ParamsPlm = Annotated[
    str,
    typer.Option(help="bart-base, bart-large, t5-base, bert-base, a folder or a hub id."),
]
ParamsEncoder = Annotated[
    str, typer.Option(help="Of images and video: vit-base, a folder or a hub id.")
]
AudioEncoder = Annotated[str, typer.Option(help="Of sound: wav2vec2-base, a folder or a hub id.")]
ParamsPromptLength = Annotated[int, typer.Option(help="Vectors.")]

# pfcli verify
Repair = Annotated[
    bool, typer.Option("--repair", help="Give up damaged shards, to be extracted anew.")
]

# pfcli convert
ConvertFormat = Annotated[Literal["arrow", "hdf5"], typer.Option(help="The shards' new format.")]
