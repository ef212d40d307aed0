"""The compared methods on one screen (table 1), and the variants that each can be run in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ...errors import ConfigError, UnknownName

Projection = Literal["none", "linear", "joint"]
VisibilityName = Literal["full", "blind", "reverse"]
PromptPosition = Literal["start", "middle", "end"]
PromptEncoder = Literal["none", "linear", "lstm"]
PromptInit = Literal["tokens", "random"]
Pool = Literal["after-norm", "before-norm", "none"]
WidthFix = Literal["none", "pad", "orthogonal"]


@dataclass(frozen=True, slots=True)
class FusionMethod:
    """One row of the paper's comparison.

    Attributes:
        name: As typed after `--method`.
        media: What stands for the media: the encoder's cached output, its output for a black image
            (and for silence) whatever the example, or the output of the encoder run live.
        projection: The trained layer between media and language model: none, H → H over each
            media vector, or 2H → H over each text token joined with the media.
        prompt: Whether a prompt stands among the input.
        visibility: A name in `visibility.VISIBILITIES`.
        trained: What the optimiser may change.
        about: One line for people.
    """

    name: str
    media: Literal["encoder", "blank", "live"]
    projection: Projection
    prompt: bool
    visibility: VisibilityName
    trained: Literal["prompt", "layer", "encoder", "nothing"]
    about: str


# fmt: off
_ALL = (
    #            name           media      project.  prompt visib.   trained    about
    FusionMethod("promptfuse",  "encoder", "none",   True,  "full",  "prompt",  "all sees all"),
    FusionMethod("blindprompt", "encoder", "none",   True,  "blind", "prompt",  "blind to input"),
    FusionMethod("blackimage",  "blank",   "none",   True,  "full",  "prompt",  "black and silent"),
    FusionMethod("noprompt",    "encoder", "none",   False, "full",  "nothing", "zero-shot"),
    FusionMethod("linear",      "encoder", "linear", False, "full",  "layer",   "media projected"),
    FusionMethod("jointproj",   "encoder", "joint",  False, "full",  "layer",   "[token ; media]"),
    FusionMethod("finetune",    "live",    "none",   False, "full",  "encoder", "encoders trained"),
)
# fmt: on
METHODS: dict[str, FusionMethod] = {method.name: method for method in _ALL}


def method_named(name: str) -> FusionMethod:
    """Return the method called `name`.

    Raises:
        UnknownName: If there is none; the message lists them.
    """
    if name not in METHODS:
        raise UnknownName("method", name, list(METHODS))
    return METHODS[name]


@dataclass(frozen=True, slots=True)
class Fusion:
    """A method in one of its variants (tables 5 and 6): all that decides how segments are fused.

    Attributes:
        method: The method.
        visibility: Which of prompt and input see which.
        prompt_position: Before all input, between media and text, or after all input.
        prompt_encoder: What the prompt passes through: nothing, a linear layer H → H, or a
            one-layer unidirectional LSTM H → H over the prompt's vectors.
        pool: How the steps of video and audio become one vector: each step gets its position and
            norm before the mean (after-norm, the released code), the mean is taken first and gets
            one position and norm (before-norm), or they stay a sequence (none). An image's
            vectors always stay as they are, and `jointproj` always takes the plain mean.
        train_norms: Whether the layer norms of the prompt's and the media's segments are trained
            (the released code does), each its own copy.
    """

    method: FusionMethod
    visibility: VisibilityName
    prompt_position: PromptPosition = "start"
    prompt_encoder: PromptEncoder = "none"
    pool: Pool = "after-norm"
    train_norms: bool = False

    def __post_init__(self) -> None:
        if self.method.prompt:
            return
        asked = {
            "--visibility": self.visibility != self.method.visibility,
            "--prompt-position": self.prompt_position != "start",
            "--prompt-encoder": self.prompt_encoder != "none",
            "--train-norms": self.train_norms,
        }
        for option, given in asked.items():
            if given:
                raise ConfigError(
                    f"{option} belongs to methods with a prompt; {self.method.name} has none"
                )

    @classmethod
    def of(cls, name: str) -> Fusion:
        """Return the method called `name` as the paper runs it."""
        method = method_named(name)
        return cls(method, method.visibility)
