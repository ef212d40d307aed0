"""What is said of a dataset once, in `promptfuse.toml`: where it is and what it works well with.

[datasets.jokes]
data = "jokes.jsonl"
adapter = "table"
encoder = { video = "google/vit-base-patch16-224-in21k" }
preset = "mustard_low"
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from .cache.modalities import find_modality
from .settings import Positive, Settings


@dataclass(frozen=True)
class SweepRow(Settings):
    """How `pfcli sweep` scales the paper's grids to a dataset.

    Attributes:
        shots: Few-shot sizes; "full" is every example.
        seeds: Runs a cell.
        plms: The language model of each family.
        side_by_side: Train a cell a processor, for models that gain little from several threads.
    """

    shots: tuple[Positive | Literal["full"], ...] | None = None
    seeds: Positive | None = None
    plms: Mapping[str, str] = field(default_factory=dict)
    side_by_side: bool = False


@dataclass(frozen=True)
class DatasetRow(Settings):
    """One `[datasets.NAME]`; what is not said is taken as for any other dataset.

    Attributes:
        data: Its folder or table.
        generator: A name in `demo.GENERATORS`: what writes it where it is not there.
        adapter: What reads its annotations.
        options: Of the adapter.
        encoder: Hub id or folder by modality.
        plm: Hub id or folder of the language model.
        preset: What it trains with.
        few_shot_preset: What it trains with on few shots; None takes `preset`.
        sweep: How sweeps are scaled.
    """

    data: str | None = None
    generator: str | None = None
    adapter: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    encoder: Mapping[str, str] = field(default_factory=dict)
    plm: str | None = None
    preset: str | None = None
    few_shot_preset: str | None = None
    sweep: SweepRow = field(default_factory=SweepRow)

    def __post_init__(self) -> None:
        for modality in self.encoder:
            find_modality(modality)

    def below(self, folder: Path) -> DatasetRow:
        """Return the row with its models' paths put below a folder."""

        def placed(paths: Mapping[str, str]) -> dict[str, str]:
            return {name: str(folder / path) for name, path in paths.items()}

        return replace(
            self,
            encoder=placed(self.encoder),
            plm=self.plm and str(folder / self.plm),
            sweep=replace(self.sweep, plms=placed(self.sweep.plms)),
        )
