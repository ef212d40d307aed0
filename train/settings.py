"""What `pfcli train` and the commands on trained prompts can be told."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Annotated, Literal

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
    setting,
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

    method: str = setting(
        "promptfuse", f"{', '.join(METHODS)}.", _TRAINING, choices=METHODS, metavar="METHOD"
    )
    shots: Positive | None = setting(None, "Training examples in all.", _DATA, default="all")
    shot_sampling: Literal["stratified", "paper"] = setting(
        "stratified",
        "Draw shots by the data seed, or as the paper take the first in file order.",
        _DATA,
    )
    dev: Positive | None = setting(
        None, "Set so many training examples aside: eval --split dev.", _DATA
    )
    seed: NonNegative = setting(0, "Seed of the (first) run's initialisation.", _TRAINING)
    seeds: Positive = setting(1, "So many runs side by side, of seed, seed + 1, …", _TRAINING)
    data_seed: NonNegative | None = setting(
        None, "Seed of the shots and of --dev.", _DATA, default="each run's seed"
    )
    modalities: tuple[str, ...] | None = setting(
        None, "What to fuse.", _DATA, choices=MODALITIES, default="all that the cache holds"
    )
    features: Mapping[str, str] = setting(
        {},
        "Which feature set, where the cache holds several.",
        _DATA,
        metavar="MODALITY=FINGERPRINT",
        choices=MODALITIES,
    )
    fields: Mapping[str, str] = setting(
        {},
        "Which of the features, such as image=cls.",
        _DATA,
        metavar="MODALITY=FIELD",
        choices=MODALITIES,
    )
    width_fix: WidthFix = setting("none", "Parameter-free, where widths differ.", _MODEL)
    plm: str | None = setting(
        None, f"Hub id or folder: {', '.join(PLMS)}.", _MODEL, default="facebook/bart-base"
    )
    plm_revision: PlmRevision = None
    plm_dtype: Literal["auto", "float32", "bfloat16"] = setting(
        "auto",
        "The frozen model's; what is trained is float32.",
        _MODEL,
        default="bfloat16 on a GPU that has it, else float32",
    )
    preset: str | None = setting(
        None,
        f"{', '.join(PRESETS)} or a file's own.",
        _TRAINING,
        default="by the dataset and the shots",
    )
    prompt_length: Positive | None = setting(None, "Vectors.", _PROMPT, default="20")
    prompt_init: PromptInit = setting(
        "tokens", "Rows of the token embeddings, or a normal distribution.", _PROMPT
    )
    prompt_position: PromptPosition = setting(
        "start", "Before all input, before the text, or after all input.", _PROMPT
    )
    prompt_encoder: PromptEncoder = setting(
        "none", "What the prompt passes through before it is embedded.", _PROMPT
    )
    visibility: VisibilityName | None = setting(
        None, "Which of prompt and input see which.", _PROMPT, default="the method's own"
    )
    pool: Pool = setting("after-norm", "How the steps of video and audio become one.", _PROMPT)
    train_norms: bool = setting(
        False, "Train the layer norms of the prompt and the media too.", _PROMPT
    )
    lr_prompt: PositiveFloat | None = setting(
        None, "Adam's rate for the prompt.", _TRAINING, flags=("--lr-prompt", "--lr")
    )
    lr_other: PositiveFloat | None = setting(
        None, "Adam's rate for all else that is trained.", _TRAINING
    )
    batch_size: Positive | None = setting(None, "Examples a step and run.", _TRAINING)
    epochs: Positive | None = setting(None, "Passes over the examples.", _TRAINING)
    max_steps: Positive | None = setting(None, "End training earlier.", _TRAINING)
    split: str = setting("train", "Train on it.", _DATA)
    fold: Positive | None = setting(
        None, "Train and test on this fold's parts: 1 to 5 in mustard.", _DATA
    )
    checkpoint_every: Positive = setting(200, "Steps.", _TRAINING)
    device: Device = "auto"
    threads: Threads = None
    time_limit: TimeLimit = None

    def __post_init__(self) -> None:
        seconds_of(self.time_limit)

    @property
    def inputs(self) -> InputChoice:
        """The part that says which features are fed in."""
        own = (self.modalities, self.features, self.fields, self.width_fix, self.fold)
        return InputChoice(*own, method_named(self.method).live)

    @property
    def fusion(self) -> Fusion:
        """The method in its variant: the part that says how segments are fused."""
        method = method_named(self.method)
        variant = (self.prompt_position, self.prompt_encoder, self.pool, self.train_norms)
        return Fusion(method, self.visibility or method.visibility, *variant)


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
    plm_dtype: Literal["float32", "bfloat16"] = "float32"
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

    split: str | None = setting(
        None, "Answer it; dev is what the run set aside.", default="test; val for VQA"
    )
    batch_size: Positive = setting(128, "Examples at a time.")
    max_new_tokens: Positive = setting(10, "Of an answer.")
    device: Device = "auto"
    threads: Threads = None


@dataclass(frozen=True)
class PredictSettings(Settings):
    """One command that answers about new media."""

    text: str | None = setting(None, "The question or utterance; a table has its own.", "Question")
    columns: Mapping[str, str] = setting(
        {},
        "A table's column by another name: text=question.",
        "Question",
        metavar="NAME=COLUMN",
        flags=("--column",),
    )
    output: str | None = setting(None, "A JSONL file of the answers.", "Answers")
    encoder: str | Mapping[str, str] | None = setting(
        None,
        "Where the encoder is, if not where it was.",
        _MODEL,
        metavar="[MODALITY=]WHERE",
        choices=MODALITIES,
    )
    plm: str | None = setting(None, "Where the language model is, if not where it was.", _MODEL)
    plm_revision: PlmRevision = None
    batch_size: Positive = setting(128, "Examples at a time.", "Answers")
    max_new_tokens: Positive = setting(10, "Of an answer.", "Answers")
    device: Device = "auto"
    threads: Threads = None

    @property
    def answering(self) -> EvalSettings:
        """The part that says how answers are given."""
        return EvalSettings(None, self.batch_size, self.max_new_tokens, self.device, self.threads)


@dataclass(frozen=True)
class ExportSettings(Settings):
    """One command that writes a trained prompt for others."""

    output: str | None = setting(None, "The file or folder to write.", default="by the run's name")
    format: Literal["safetensors", "peft"] = setting(
        "safetensors", "One file for pfcli predict, or a PEFT prompt-tuning folder (T5)."
    )


@dataclass(frozen=True)
class ParamsSettings(Settings):
    """One count of what each method would train."""

    plm: str = setting(
        "bart-base", "bart-base, bart-large, t5-base, bert-base, a folder or a hub id."
    )
    plm_revision: PlmRevision = None
    encoder: str = setting("vit-base", "Of images and video: vit-base, a folder or a hub id.")
    audio_encoder: str = setting("wav2vec2-base", "Of sound: wav2vec2-base, a folder or a hub id.")
    encoder_revision: PlmRevision = None
    audio_encoder_revision: PlmRevision = None
    prompt_length: Positive = setting(20, "Vectors.")
