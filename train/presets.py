"""Training set-ups: the paper's (table 8), and what a dataset takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from ..errors import UnknownName
from ..settings import Positive, PositiveFloat, Settings


@dataclass(frozen=True)
class Preset(Settings):
    """What a set-up fixes; everything can be overridden.

    Attributes:
        max_steps: Ends training earlier where the epochs would take more steps.
        lr_other: Adam's learning rate for all that is trained but the prompt.
        lr_encoder: The same for encoders; None takes `lr_other`.
        encoder_steps: `max_steps` where encoders are trained; None takes `max_steps`.
    """

    lr_prompt: PositiveFloat
    batch_size: Positive
    epochs: Positive
    max_steps: Positive | None = None
    prompt_length: Positive = 20
    lr_other: PositiveFloat = 5e-4
    lr_encoder: PositiveFloat | None = None
    encoder_steps: Positive | None = None

    def training(self, trained: str) -> Preset:
        """Return the set-up for a method that trains `trained`; see `FusionMethod.trained`."""
        if trained != "encoder":
            return self
        lr, max_steps = self.lr_encoder or self.lr_other, self.encoder_steps or self.max_steps
        return replace(self, lr_other=lr, max_steps=max_steps)


# Source: table 8, appendix A. It names no language model: T5 and BERT (table 7) train as BART.
PRESETS: dict[str, Preset] = {
    "vqav2_full": Preset(lr_prompt=0.5, batch_size=32, epochs=2),
    "vqav2_low": Preset(lr_prompt=0.5, batch_size=32, epochs=100),
    "mustard_full": Preset(lr_prompt=0.5, batch_size=8, epochs=5),
    "mustard_low": Preset(lr_prompt=0.5, batch_size=8, epochs=50),
}


@dataclass(frozen=True)
class Presets:
    """The set-ups that a dataset can be trained with, and its own on all examples and on few.

    Where it has none of its own, the paper's for its task is taken.
    """

    named: Mapping[str, Preset] = field(default_factory=lambda: PRESETS)
    full: str | None = None
    few: str | None = None

    def choose(self, asked: str | None, task: str, *, few_shot: bool) -> tuple[str, Preset]:
        """Return the name and the set-up asked for, else the dataset's own, else the paper's."""
        papers = f"{'mustard' if task == 'label' else 'vqav2'}_{'low' if few_shot else 'full'}"
        name = asked or (self.few if few_shot else self.full) or papers
        if name not in self.named:
            raise UnknownName("preset", name, self.named)
        return name, self.named[name]
