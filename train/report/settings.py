"""What `pfcli report` can be told."""

from dataclasses import dataclass
from typing import Literal

from ...settings import NonNegative, Settings, setting

NUMBERS = (1, 2, 4, 5, 6, 7)
"""The paper's tables that runs can fill."""


@dataclass(frozen=True)
class ReportSettings(Settings):
    """What a report shows."""

    sweep: str | None = setting(None, "Report this sweep.", default="every run")
    format: Literal["text", "markdown", "latex", "csv", "html"] = setting(
        "text", "How to write it."
    )
    table: int | None = setting(
        None, f"The paper's table: {', '.join(map(str, NUMBERS))}.", default="all that runs fill"
    )
    split: str | None = setting(None, "Figures on it, such as dev.", default="test; val for VQA")
    output: str | None = setting(None, "The file to write.", default="print; pf/report.html")
    max_images: NonNegative = setting(60, "Pictures in the page.")
