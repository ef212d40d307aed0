"""What `pfcli report` can be told."""

from dataclasses import dataclass
from typing import Annotated, Literal

from ...settings import Help, NonNegative, Settings

NUMBERS = (1, 2, 4, 5, 6, 7)
"""The paper's tables that runs can fill."""


@dataclass(frozen=True)
class ReportSettings(Settings):
    """What a report shows."""

    sweep: Annotated[str | None, Help("Report this sweep.", default="every run")] = None
    format: Annotated[
        Literal["text", "markdown", "latex", "csv", "html"], Help("How to write it.")
    ] = "text"
    table: Annotated[
        int | None,
        Help(f"The paper's table: {', '.join(map(str, NUMBERS))}.", default="all that runs fill"),
    ] = None
    split: Annotated[
        str | None, Help("Figures on it, such as dev.", default="test; val for VQA")
    ] = None
    output: Annotated[str | None, Help("The file to write.", default="print; pf/report.html")] = (
        None
    )
    max_images: Annotated[NonNegative, Help("Pictures in the page.")] = 60
