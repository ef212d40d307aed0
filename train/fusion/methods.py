"""The compared methods on one screen (table 1), and the variants that each can be run in."""

from dataclasses import dataclass
from typing import Literal, Self

from ...errors import ConfigError, UnknownName

VisibilityName = Literal["full", "blind", "reverse"]
PromptPosition = Literal["start", "middle", "end"]
PromptEncoder = Literal["none", "linear", "lstm"]
PromptInit = Literal["tokens", "random"]
Pool = Literal["after-norm", "before-norm", "none"]
WidthFix = Literal["none", "pad", "orthogonal"]

Stage = Literal["project", "place", "mean", "scale"]
"""Of an embedding: a trained layer H → H; positions, and each vector to mean 0 and variance 1; the
mean over the steps; the norm's scale and shift."""

ORDERS: dict[Pool, tuple[Stage, ...]] = {
    "after-norm": ("project", "place", "mean", "scale"),
    "before-norm": ("mean", "project", "place", "scale"),
    "none": ("project", "place", "scale"),
}
"""The stages from a medium's vectors to its segment by pooling rule. The scale of a mean is the
mean of the scaled, so that the released code's order (norm, then mean) is the first."""


@dataclass(frozen=True, slots=True)
class FusionMethod:
    """One row of the paper's comparison.

    Attributes:
        media: What stands for the media: the encoder's cached output, its output for a black image
            (and for silence) whatever the example, or the output of the encoder run live, which
            is then trained.
        projection: The trained layer between media and language model: none, H → H over each
            media vector, or 2H → H over each text token joined with the media.
        prompt: Whether a trained prompt stands among the input.
    """

    name: str
    media: Literal["encoder", "blank", "live"]
    projection: Literal["none", "linear", "joint"]
    prompt: bool
    visibility: VisibilityName

    @property
    def live(self) -> bool:
        """Whether the encoders run live on decoded media, and are trained."""
        return self.media == "live"

    @property
    def joins(self) -> bool:
        """Whether the media are joined with the text's tokens and have no segment of their own."""
        return self.projection == "joint"

    @property
    def layer_inputs(self) -> int:
        """How many vectors of size H the trained layer reads at once; 0 without one."""
        return {"none": 0, "linear": 1, "joint": 2}[self.projection]

    @property
    def trained(self) -> Literal["prompt", "layer", "encoder", "nothing"]:
        """What the optimiser may change."""
        if self.prompt:
            return "prompt"
        if self.layer_inputs:
            return "layer"
        return "encoder" if self.live else "nothing"

    @property
    def trains(self) -> bool:
        """Whether the optimiser may change anything."""
        return self.trained != "nothing"


# fmt: off
_ALL = (
    #            name           media      project.  prompt visibility
    FusionMethod("promptfuse",  "encoder", "none",   True,  "full"),  # all sees all
    FusionMethod("blindprompt", "encoder", "none",   True,  "blind"), # blind to input
    FusionMethod("blackimage",  "blank",   "none",   True,  "full"),  # black and silent
    FusionMethod("noprompt",    "encoder", "none",   False, "full"),  # zero-shot
    FusionMethod("linear",      "encoder", "linear", False, "full"),  # media projected
    FusionMethod("jointproj",   "encoder", "joint",  False, "full"),  # [token ; media]
    FusionMethod("finetune",    "live",    "none",   False, "full"),  # encoders trained
)
# fmt: on
METHODS: dict[str, FusionMethod] = {method.name: method for method in _ALL}


def method_named(name: str) -> FusionMethod:
    """Return the method called `name`."""
    if name not in METHODS:
        raise UnknownName("method", name, list(METHODS))
    return METHODS[name]


@dataclass(frozen=True, slots=True)
class Fusion:
    """A method in one of its variants (tables 5 and 6): all that decides how segments are fused.

    Attributes:
        visibility: Which of prompt and input see which.
        prompt_position: Before all input, between media and text, or after all input.
        prompt_encoder: What the prompt passes through: nothing, a linear layer H → H, or a
            one-layer unidirectional LSTM H → H over the prompt's vectors.
        pool: How the steps of video and audio become one vector: each step gets its position and
            norm before the mean (after-norm, the released code), the mean is taken first and gets
            one position and norm (before-norm), or they stay a sequence (none). An image's
            vectors always stay as they are; `jointproj` takes the mean of what is left.
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
        of_prompts = {
            "--visibility": self.visibility != self.method.visibility,
            "--prompt-position": self.prompt_position != "start",
            "--prompt-encoder": self.prompt_encoder != "none",
            "--train-norms": self.train_norms,
        }
        given = next((option for option, asked in of_prompts.items() if asked), None)
        if given and not self.method.prompt:
            name = self.method.name
            raise ConfigError(f"{given} belongs to methods with a prompt; {name} has none")

    @classmethod
    def of(cls, name: str) -> Self:
        """Return the method called `name` as the paper runs it."""
        method = method_named(name)
        return cls(method, method.visibility)

    def stages(self, *, temporal: bool) -> tuple[Stage, ...]:
        """Return the stages from vectors, `temporal` ones of steps to be pooled, to a segment."""
        order = ORDERS[self.pool if temporal else "none"]
        if self.method.joins and "mean" not in order:
            order = ORDERS["after-norm"]
        projects = self.method.projection == "linear"
        return tuple(stage for stage in order if stage != "project" or projects)

    @property
    def trained_stages(self) -> tuple[Stage, ...]:
        """The stages of a medium's embedding that the optimiser may change, where they are."""
        return ("project", "scale") if self.train_norms else ("project",)
