"""What `pfcli train` and the commands on trained prompts can be told."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Annotated, ClassVar, Literal

from ..cache.modalities import MODALITIES
from ..settings import (
    Device,
    Help,
    NonNegative,
    Positive,
    PositiveFloat,
    Settings,
    Threads,
    TimeLimit,
)
from ..stopping import seconds_of
from .fusion.methods import (
    METHODS,
    Fusion,
    Pool,
    PromptEncoder,
    PromptInit,
    PromptPosition,
    VisibilityName,
    WidthFix,
    method_named,
)
from .plm import PLMS
from .presets import PRESETS

PlmDtype = Literal["float32", "bfloat16"]
ShotSampling = Literal["stratified", "paper"]

PlmRevision = Annotated[str | None, Help("Of a hub id.", "Models", default="the newest there")]

_DATA, _MODEL, _PROMPT, _TRAINING = "Data", "Models", "Prompt and fusion", "Training"


@dataclass(frozen=True)
class InputChoice:
    """Which examples and features are fed in; None of the modalities is all that are cached.

    A fold's parts stand for the splits "train" and "test"; `live` takes decoded media, for
    encoders that run live, in place of encoders' outputs.
    """

    modalities: tuple[str, ...] | None = None
    features: Mapping[str, str] = field(default_factory=dict)
    fields: Mapping[str, str] = field(default_factory=dict)
    width_fix: WidthFix = "none"
    fold: int | None = None
    live: bool = False


@dataclass(frozen=True)
class TrainSettings(Settings):
    """One training command; None leaves a value to the preset or to what the cache holds."""

    method: Annotated[
        str, Help(f"{', '.join(METHODS)}.", _TRAINING, choices=METHODS, metavar="METHOD")
    ] = "promptfuse"
    shots: Annotated[Positive | None, Help("Training examples in all.", _DATA, default="all")] = (
        None
    )
    shot_sampling: Annotated[
        ShotSampling,
        Help("Draw shots by the data seed, or as the paper take the first in file order.", _DATA),
    ] = "stratified"
    dev: Annotated[
        Positive | None, Help("Set so many training examples aside: eval --split dev.", _DATA)
    ] = None
    seed: Annotated[NonNegative, Help("Seed of the (first) run's initialisation.", _TRAINING)] = 0
    seeds: Annotated[
        Positive, Help("So many runs side by side, of seed, seed + 1, …", _TRAINING)
    ] = 1
    data_seed: Annotated[
        NonNegative | None,
        Help("Seed of the shots and of --dev.", _DATA, default="each run's seed"),
    ] = None
    modalities: Annotated[
        tuple[str, ...] | None,
        Help("What to fuse.", _DATA, choices=MODALITIES, default="all that the cache holds"),
    ] = None
    features: Annotated[
        Mapping[str, str],
        Help(
            "Which feature set, where the cache holds several.",
            _DATA,
            metavar="MODALITY=FINGERPRINT",
            choices=MODALITIES,
        ),
    ] = field(default_factory=dict)
    fields: Annotated[
        Mapping[str, str],
        Help(
            "Which of the features, such as image=cls.",
            _DATA,
            metavar="MODALITY=FIELD",
            choices=MODALITIES,
        ),
    ] = field(default_factory=dict)
    width_fix: Annotated[WidthFix, Help("Parameter-free, where widths differ.", _MODEL)] = "none"
    plm: Annotated[
        str | None,
        Help(f"Hub id or folder: {', '.join(PLMS)}.", _MODEL, default="facebook/bart-base"),
    ] = None
    plm_revision: PlmRevision = None
    plm_dtype: Annotated[
        PlmDtype, Help("The frozen model's; what is trained is float32.", _MODEL)
    ] = "float32"
    preset: Annotated[
        str | None,
        Help(
            f"{', '.join(PRESETS)} or a file's own.",
            _TRAINING,
            default="by the dataset and the shots",
        ),
    ] = None
    prompt_length: Annotated[Positive | None, Help("Vectors.", _PROMPT, default="20")] = None
    prompt_init: Annotated[
        PromptInit,
        Help("Rows of the token embeddings, or a normal distribution.", _PROMPT),
    ] = "tokens"
    prompt_position: Annotated[
        PromptPosition, Help("Before all input, before the text, or after all input.", _PROMPT)
    ] = "start"
    prompt_encoder: Annotated[
        PromptEncoder, Help("What the prompt passes through before it is embedded.", _PROMPT)
    ] = "none"
    visibility: Annotated[
        VisibilityName | None,
        Help("Which of prompt and input see which.", _PROMPT, default="the method's own"),
    ] = None
    pool: Annotated[Pool, Help("How the steps of video and audio become one.", _PROMPT)] = (
        "after-norm"
    )
    train_norms: Annotated[
        bool, Help("Train the layer norms of the prompt and the media too.", _PROMPT)
    ] = False
    lr_prompt: Annotated[
        PositiveFloat | None,
        Help("Adam's rate for the prompt.", _TRAINING, flags=("--lr-prompt", "--lr")),
    ] = None
    lr_other: Annotated[
        PositiveFloat | None, Help("Adam's rate for all else that is trained.", _TRAINING)
    ] = None
    batch_size: Annotated[Positive | None, Help("Examples a step and run.", _TRAINING)] = None
    epochs: Annotated[Positive | None, Help("Passes over the examples.", _TRAINING)] = None
    max_steps: Annotated[Positive | None, Help("End training earlier.", _TRAINING)] = None
    split: Annotated[str, Help("Train on it.", _DATA)] = "train"
    fold: Annotated[
        Positive | None,
        Help("Train and test on this fold's parts: 1 to 5 in mustard.", _DATA),
    ] = None
    checkpoint_every: Annotated[Positive, Help("Steps.", _TRAINING)] = 200
    device: Device = "auto"
    threads: Threads = None
    time_limit: TimeLimit = None
    added_since: ClassVar = ("time_limit",)

    def __post_init__(self) -> None:
        seconds_of(self.time_limit)

    @property
    def inputs(self) -> InputChoice:
        """The part that says which features are fed in."""
        return InputChoice(
            self.modalities,
            self.features,
            self.fields,
            self.width_fix,
            self.fold,
            live=method_named(self.method).live,
        )

    @property
    def fusion(self) -> Fusion:
        """The method in its variant: the part that says how segments are fused."""
        method = method_named(self.method)
        return Fusion(
            method,
            self.visibility or method.visibility,
            self.prompt_position,
            self.prompt_encoder,
            self.pool,
            self.train_norms,
        )


NOT_A_RESULT = ("device", "threads", "checkpoint_every", "time_limit")
"""Settings that do not decide what comes out: what was interrupted can go on with others."""

_OF_PROMPTS = ("visibility", "train_norms", "lr_prompt")
_OF_TRAINING = ("shots", "seeds", "lr_prompt", "lr_other", "batch_size", "epochs", "max_steps")


def idle(method: str) -> set[str]:
    """Return the settings that change nothing with a method: no prompt, nothing trained."""
    made = method_named(method)
    prompts = {field.name for field in fields(TrainSettings) if field.name.startswith("prompt_")}
    unused = set() if made.prompt else {*prompts, *_OF_PROMPTS}
    return unused if made.trains else {*unused, *_OF_TRAINING}


@dataclass(frozen=True)
class RunSettings(TrainSettings):
    """One run's settings: nothing is left to the preset, the method or the cache any more."""

    data_seed: NonNegative = 0
    modalities: tuple[str, ...] = ()
    plm: str = ""
    preset: str = ""
    prompt_length: NonNegative = 20
    visibility: VisibilityName = "full"
    lr_prompt: PositiveFloat = 0.5
    lr_other: PositiveFloat = 5e-4
    batch_size: Positive = 8
    epochs: Positive = 1


@dataclass(frozen=True)
class EvalSettings(Settings):
    """One evaluation command."""

    split: Annotated[
        str | None,
        Help("Answer it; dev is what the run set aside.", default="test; val for VQA"),
    ] = None
    batch_size: Annotated[Positive, Help("Examples at a time.")] = 128
    max_new_tokens: Annotated[Positive, Help("Of an answer.")] = 10
    device: Device = "auto"
    threads: Threads = None


@dataclass(frozen=True)
class PredictSettings(Settings):
    """One command that answers about new media."""

    text: Annotated[
        str | None, Help("The question or utterance; a table has its own.", "Question")
    ] = None
    columns: Annotated[
        Mapping[str, str],
        Help(
            "A table's column by another name: text=question.",
            "Question",
            metavar="NAME=COLUMN",
            flags=("--column",),
        ),
    ] = field(default_factory=dict)
    output: Annotated[str | None, Help("A JSONL file of the answers.", "Answers")] = None
    encoder: Annotated[
        str | Mapping[str, str] | None,
        Help(
            "Where the encoder is, if not where it was.",
            "Models",
            metavar="[MODALITY=]WHERE",
            choices=MODALITIES,
        ),
    ] = None
    plm: Annotated[
        str | None, Help("Where the language model is, if not where it was.", "Models")
    ] = None
    plm_revision: PlmRevision = None
    batch_size: Annotated[Positive, Help("Examples at a time.", "Answers")] = 128
    max_new_tokens: Annotated[Positive, Help("Of an answer.", "Answers")] = 10
    device: Device = "auto"
    threads: Threads = None

    @property
    def answering(self) -> EvalSettings:
        """The part that says how answers are given."""
        return EvalSettings(None, self.batch_size, self.max_new_tokens, self.device, self.threads)


@dataclass(frozen=True)
class ExportSettings(Settings):
    """One command that writes a trained prompt for others."""

    output: Annotated[
        str | None, Help("The file or folder to write.", default="by the run's name")
    ] = None
    format: Annotated[
        Literal["safetensors", "peft"],
        Help("One file for pfcli predict, or a PEFT prompt-tuning folder (T5)."),
    ] = "safetensors"


@dataclass(frozen=True)
class ParamsSettings(Settings):
    """One count of what each method would train."""

    plm: Annotated[
        str, Help("bart-base, bart-large, t5-base, bert-base, a folder or a hub id.")
    ] = "bart-base"
    plm_revision: PlmRevision = None
    encoder: Annotated[str, Help("Of images and video: vit-base, a folder or a hub id.")] = (
        "vit-base"
    )
    audio_encoder: Annotated[str, Help("Of sound: wav2vec2-base, a folder or a hub id.")] = (
        "wav2vec2-base"
    )
    encoder_revision: PlmRevision = None
    audio_encoder_revision: PlmRevision = None
    prompt_length: Annotated[Positive, Help("Vectors.")] = 20
