"""The compared methods on one screen: what each feeds in and what each trains (table 1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ...errors import UnknownName


@dataclass(frozen=True, slots=True)
class FusionMethod:
    """One row of the paper's comparison.

    Attributes:
        name: As typed after `--method`.
        media: What stands for the media: the encoder's output, or its output for a black image
            (and for silence) whatever the example.
        prompt: Whether a prompt stands in front of the input.
        visibility: A name in `visibility.VISIBILITIES`.
        trained: What the optimiser may change.
        about: One line for people.
    """

    name: str
    media: Literal["encoder", "blank"]
    prompt: bool
    visibility: Literal["full", "blind"]
    trained: Literal["prompt", "nothing"]
    about: str


# fmt: off
_ALL = (
    #            name           media      prompt  visib.   trained    about
    FusionMethod("promptfuse",  "encoder", True,   "full",  "prompt",  "all sees all"),
    FusionMethod("blindprompt", "encoder", True,   "blind", "prompt",  "prompt sees only prompt"),
    FusionMethod("blackimage",  "blank",   True,   "full",  "prompt",  "a black image and silence"),
    FusionMethod("noprompt",    "encoder", False,  "full",  "nothing", "zero-shot"),
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
