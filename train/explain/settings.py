"""What `pfcli explain` can be told."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge

from ...cache.modalities import MODALITIES
from ...settings import Device, Help, Settings, Threads

FEWEST_STEPS = 50
"""Points on a path that is not refined."""


@dataclass(frozen=True)
class ExplainSettings(Settings):
    """What is explained, and how finely."""

    example: Annotated[
        tuple[str, ...],
        Help("Its id in the split (repeated for several).", default="the first"),
    ] = ()
    split: Annotated[
        str | None,
        Help("Of the examples; dev is what the run set aside.", default="test; val for VQA"),
    ] = None
    baseline: Annotated[Literal["black", "mean", "blur"], Help("An image that shows nothing.")] = (
        "black"
    )
    max_steps: Annotated[
        int, Ge(FEWEST_STEPS), Help("Points on the path at which refining it ends.")
    ] = 1600
    encoder: Annotated[
        Mapping[str, str] | None,
        Help(
            "Where the encoder is, if not where it was.",
            "Models",
            metavar="MODALITY=WHERE",
            choices=MODALITIES,
        ),
    ] = None
    device: Device = "auto"
    threads: Threads = None
