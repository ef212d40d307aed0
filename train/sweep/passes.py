"""Which cells can train in one pass, and how they are dealt out among workers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from ..settings import TrainSettings
from .record import CellRecord


@dataclass(frozen=True)
class Cell:
    """A cell in hand: its place in the sweep, how it is recorded, and its settings as asked now."""

    index: int
    record: CellRecord
    settings: TrainSettings

    @property
    def failed(self) -> bool:
        """Whether it ended with an error."""
        return self.record.status == "failed"

    def noted(self, **changes: object) -> Cell:
        """Return the cell with a record that was brought up to date."""
        return replace(self, record=replace(self.record, **changes))

    def ended_by(self, error: Exception) -> Cell:
        """Return the cell with the error that ended it."""
        return self.noted(status="failed", error=f"{type(error).__name__}: {error}")


def alike(record: CellRecord, settings: TrainSettings) -> str:
    """Return a text that cells share which can train in one pass.

    They share the language model, the features and how segments are fused. Shots, seeds, rates,
    lengths, steps and initialisations are each run's own, and so is whether media are blank.
    """
    pinned = record.pinned(settings)
    fusion = settings.fusion
    method = replace(fusion.method, name="", visibility=fusion.visibility)
    if method.media == "blank":
        method = replace(method, media="encoder")
    plm = (settings.plm, settings.plm_revision, settings.plm_dtype)
    fused = asdict(replace(fusion, method=method))
    return json.dumps([plm, pinned.split, asdict(pinned.inputs), fused], sort_keys=True)


def dealt(cells: Sequence[Cell], *, hands: int) -> list[list[Cell]]:
    """Return the cells in groups that can train in one pass, each kind dealt to so many hands.

    The order of the cells is kept, and so is that of the kinds.
    """
    kinds: dict[str, list[Cell]] = {}
    for cell in cells:
        kinds.setdefault(alike(cell.record, cell.settings), []).append(cell)
    return [group for kind in kinds.values() for at in range(hands) if (group := kind[at::hands])]
