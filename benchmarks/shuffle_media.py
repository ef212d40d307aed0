"""How much a trained prompt's answers rest on each medium: its features shuffled at test.

    pfcli extract --modality all
    pfcli train --method blindprompt
    python -m promptfuse.benchmarks.shuffle_media [RUN] [--draws 5]

Each medium's features are dealt out anew among the examples of the split that `pfcli eval` takes,
one medium at a time, then all of them, each on its own. What accuracy falls by, on average over the
draws, is what the prompt has from that medium; a medium that is not used costs nothing.
"""

import statistics
from typing import Annotated

import numpy as np
import typer

from ..cache.example_table import ExampleTable
from ..cache.examples import read_dataset
from ..extract.reopen import live_encoders
from ..library.training import load_recorded
from ..library.workspace import Workspace
from ..tables import Table
from ..train.answer import answer, answer_data
from ..train.evaluate import open_split
from ..train.metrics import score
from ..train.record import default_split, read_record
from ..train.runs.folders import find_run
from ..train.trained import load_prompt


class Shuffled(ExampleTable):
    """A split whose media of some modalities belong to other examples."""

    def __init__(
        self, table: ExampleTable, modalities: list[str], rng: np.random.Generator
    ) -> None:
        super().__init__(table._table)
        self._order = {name: rng.permutation(len(table)) for name in modalities}

    def keys(self, modality: str) -> list[bytes | None]:
        """Return the key of each example's medium, that of another example where shuffled."""
        keys = super().keys(modality)
        return [keys[place] for place in self._order.get(modality, range(len(keys)))]


def main(
    run: Annotated[str | None, typer.Argument(help="Number or name; the latest if absent.")] = None,
    split: Annotated[str | None, typer.Option(help="As pfcli eval takes it.")] = None,
    draws: int = 5,
) -> None:
    """Measure how much a trained prompt's answers rest on each medium."""
    workspace = Workspace()
    folder = find_run(workspace.runs, run)
    record, prompt = read_record(folder), load_prompt(folder)
    plm = load_recorded(record, "auto", 1)
    info = read_dataset(workspace.cache, record.dataset)
    split = split or default_split(info.task, info.splits, fold=record.settings.fold)
    opened = open_split(workspace.cache, info, record, split)

    def accuracy(table: ExampleTable) -> float:
        data = answer_data(prompt, plm, table, opened.features, live=live_encoders("auto"))
        said = [given.text for given in answer(prompt, data, quiet=True)]
        metrics = score(info.task, said, table, positive=info.positive)
        return metrics.values["accuracy" if info.task == "label" else metrics.headline]

    whole = accuracy(opened.table)
    rows: list[list[str | float]] = [["as they are", whole, 0.0, 0.0]]
    modalities = list(opened.features)
    for shuffled in [*([name] for name in modalities), *([modalities] if modalities[1:] else [])]:
        rng = np.random.default_rng(0)
        values = [accuracy(Shuffled(opened.table, shuffled, rng)) for _ in range(draws)]
        mean, spread = statistics.fmean(values), max(values) - min(values)
        rows.append([f"{' and '.join(shuffled)} shuffled", mean, whole - mean, spread])
    columns = ["media", "accuracy", "lost", "range over draws"]
    title = f"{folder.name} on {split!r}, {len(opened.table)} examples, {draws} draws"
    print(Table(title, columns, rows).text())


if __name__ == "__main__":
    typer.run(main)
