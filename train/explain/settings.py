"""What `pfcli explain` can be told."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge

from ...cache.modalities import MODALITIES
from ...settings import Device, Settings, Threads, setting


@dataclass(frozen=True)
class ExplainSettings(Settings):
    """What is explained, and how finely."""

    example: tuple[str, ...] = setting(
        (), "Its id in the split (repeated for several).", default="the first"
    )
    split: str | None = setting(
        None, "Of the examples; dev is what the run set aside.", default="test; val for VQA"
    )
    baseline: Literal["black", "mean", "blur"] = setting("black", "An image that shows nothing.")
    # a path that is not refined has 50
    max_steps: Annotated[int, Ge(50)] = setting(
        1600, "Points on the path at which refining it ends."
    )
    encoder: Mapping[str, str] | None = setting(
        None,
        "Where the encoder is, if not where it was.",
        "Models",
        metavar="MODALITY=WHERE",
        choices=MODALITIES,
    )
    device: Device = "auto"
    threads: Threads = None
