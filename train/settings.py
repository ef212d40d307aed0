"""What `pfcli train` and `pfcli eval` can be told, with defaults and checks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ..cache.modalities import MODALITIES
from ..errors import ConfigError
from .fusion.methods import (
    Pool,
    PromptEncoder,
    PromptInit,
    PromptPosition,
    VisibilityName,
    WidthFix,
    method_named,
)


@dataclass(frozen=True)
class InputChoice:
    """Which examples and features are fed in.

    Attributes:
        modalities: None uses all that the cache holds for the dataset.
        features: The beginning of a feature set's fingerprint by modality.
        fields: The feature field by modality.
        width_fix: The parameter-free map where encoder and language model differ in width.
        fold: The fold whose parts stand for the splits "train" and "test"; None takes the splits.
        live: Decoded media for encoders that run live, in place of encoders' outputs.
    """

    modalities: tuple[str, ...] | None = None
    features: Mapping[str, str] | None = None
    fields: Mapping[str, str] | None = None
    width_fix: WidthFix = "none"
    fold: int | None = None
    live: bool = False


@dataclass(frozen=True)
class TrainSettings:
    """One training command; None leaves a value to the preset or to what the cache holds.

    Attributes:
        method: A name in `fusion.methods.METHODS`.
        shots: Training examples in all; None uses every one.
        dev: Examples of the training split that are set aside to choose settings on; None for none.
        shot_sampling: "stratified" draws by the data seed, "paper" takes the first in file order.
        seed: The first run's initialisation seed.
        seeds: R, how many runs (seed, seed + 1, …) train side by side in one pass.
        data_seed: Seed of the shots and of `dev`; None uses each run's own seed.
        modalities: What to feed in; this and the next three are `InputChoice`'s, whose `live` the
            method decides.
        features: The beginning of a feature set's fingerprint by modality.
        fields: The feature field by modality.
        width_fix: The parameter-free map where widths differ.
        plm: Hub id or folder of a BART, T5 or BERT; None uses `facebook/bart-base`.
        plm_dtype: The frozen model's dtype; what is trained is float32 always.
        device: A torch device; "auto" takes a GPU where there is one.
        split: The split to train on.
        fold: Train on this fold's training part, and test on its test part.
        preset: A name in `presets.PRESETS`; None goes by the dataset and the shots.
        prompt_length: P.
        prompt_init: "tokens" draws rows of the token embeddings, "random" a normal distribution.
        prompt_position: Before all input, between media and text, or after all input.
        prompt_encoder: What the prompt passes through before it is embedded.
        visibility: Which of prompt and input see which; None leaves it to the method.
        pool: How the steps of video and audio become what is fed in; see `fusion.methods.Fusion`.
        train_norms: Train the layer norms of the prompt's and the media's segments too.
        lr_prompt: Adam's learning rate for the prompt.
        lr_other: Adam's learning rate for everything else that is trained.
        batch_size: Examples a step and run.
        epochs: Passes over the training examples.
        max_steps: Ends training earlier.
        checkpoint_every: Steps between two checkpoints.
        threads: CPU threads; None leaves it to torch.
    """

    method: str = "promptfuse"
    shots: int | None = None
    dev: int | None = None
    shot_sampling: Literal["stratified", "paper"] = "stratified"
    seed: int = 0
    seeds: int = 1
    data_seed: int | None = None
    modalities: tuple[str, ...] | None = None
    features: Mapping[str, str] | None = None
    fields: Mapping[str, str] | None = None
    width_fix: WidthFix = "none"
    plm: str | None = None
    plm_dtype: Literal["float32", "bfloat16"] = "float32"
    device: str = "auto"
    split: str = "train"
    fold: int | None = None
    preset: str | None = None
    prompt_length: int | None = None
    prompt_init: PromptInit = "tokens"
    prompt_position: PromptPosition = "start"
    prompt_encoder: PromptEncoder = "none"
    visibility: VisibilityName | None = None
    pool: Pool = "after-norm"
    train_norms: bool = False
    lr_prompt: float | None = None
    lr_other: float | None = None
    batch_size: int | None = None
    epochs: int | None = None
    max_steps: int | None = None
    checkpoint_every: int = 200
    threads: int | None = None

    def __post_init__(self) -> None:
        for name in (
            "shots",
            "dev",
            "seeds",
            "fold",
            "prompt_length",
            "batch_size",
            "epochs",
            "max_steps",
            "checkpoint_every",
            "threads",
        ):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{name} is {value}; it must be at least 1")
        for name in ("lr_prompt", "lr_other"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ConfigError(f"{name} is {value}; it must be above 0")
        unknown = set(self.modalities or ()) - set(MODALITIES)
        if unknown:
            raise ConfigError(
                f"unknown modality {sorted(unknown)[0]!r}; choose from {', '.join(MODALITIES)}"
            )

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


@dataclass(frozen=True)
class EvalSettings:
    """One evaluation command.

    Attributes:
        split: The split to answer; "dev" is what the run set aside; None takes "test", or "val"
            where there is no "test".
        batch_size: Examples at a time.
        max_new_tokens: Longest answer.
        device: A torch device; "auto" takes a GPU where there is one.
        threads: CPU threads; None leaves it to torch.
    """

    split: str | None = None
    batch_size: int = 128
    max_new_tokens: int = 10
    device: str = "auto"
    threads: int | None = None
