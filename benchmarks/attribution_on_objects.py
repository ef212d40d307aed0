"""Measure how much of an explained answer's map lies on the drawn objects of demo-vqa.

    pfcli extract --dataset demo-vqa
    pfcli train --dataset demo-vqa --method promptfuse      # and blindprompt
    python benchmarks/attribution_on_objects.py [--run 1] [--baseline black,mean,blur,average]

Taken are the first 50 images of the validation split, in file order, that have a question of type
number or other which the run answers rightly, and of each image the first such question: yes/no
questions are at chance, a wrong answer need not rest on the objects, and questions about one image
are not independent. All methods are measured on these 50.

Objects are the pixels that differ from the image's median colour by more than 24 grey levels in any
channel (the background is plain, with noise of 5). The share of the map's mass on them stands
against their share of the area, which is what a map that ignores the image would give; and against
their share of the contrast with the baseline, which is what a map of equal gradients everywhere
would give, as objects are brighter than the background. A p-value is that of so many images or more
being above by tosses of a coin.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import statistics
from collections.abc import Callable
from pathlib import Path

import numpy as np

from promptfuse.extract.reopen import live_encoders, media_decoder
from promptfuse.library.training import load_recorded
from promptfuse.library.workspace import Workspace
from promptfuse.tables import Table
from promptfuse.train.explain.attribution import attribute
from promptfuse.train.explain.beside import MethodRun
from promptfuse.train.explain.explainer import Explainer, open_explainer
from promptfuse.train.explain.explanation import LARGE_DELTA
from promptfuse.train.explain.fused_answer import BASELINES
from promptfuse.train.record import read_record
from promptfuse.train.report.predictions import rightness
from promptfuse.train.runs.folders import find_run

APART = 24
KINDS = ("number", "other")
AVERAGE = "average"


def objects(pixels: np.ndarray) -> np.ndarray:
    """Return where the objects are: [H, W] bool of pixels [C, H, W]."""
    background = np.median(pixels, axis=(1, 2), keepdims=True)
    return (np.abs(pixels - background) > APART).any(axis=0)


def share_on(mask: np.ndarray, mass: np.ndarray) -> float:
    """Return the part of a non-negative map's sum that lies on the mask."""
    return float(mass[mask].sum() / mass.sum())


def above_chance(wins: int, trials: int) -> float:
    """Return the chance of so many heads or more."""
    return sum(math.comb(trials, count) for count in range(wins, trials + 1)) / 2**trials


def chosen_examples(explainer: Explainer, own: MethodRun, count: int) -> list[tuple[str, int]]:
    """Return ids and places of the first examples that fit, one an image."""
    import torch

    found: list[tuple[str, int]] = []
    seen: set[str] = set()
    for place, example in enumerate(explainer.table):
        image = example.paths["image"]
        if image in seen or example.answer_type not in KINDS:
            continue
        answer = explainer.answer(own, example, explainer.media(example))
        with torch.no_grad():
            encoded = answer.encoded(*answer.inputs())
            (said,) = explainer.plm.generate(encoded, max_new_tokens=10)
        if rightness(said, example, "vqa") == 1:
            seen.add(image)
            found.append((example.id, place))
        if len(found) == count:
            break
    return found


MASSES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "absolute": np.abs,
    "positive": lambda drawn: np.maximum(drawn, 0.0),
}


@dataclasses.dataclass
class Sample:
    """One example under one method: its mask, and by baseline its map, contrast and delta.

    A part is the image's share of the change in log-odds; the text's is the rest.
    """

    mask: np.ndarray
    maps: dict[str, np.ndarray]
    contrasts: dict[str, np.ndarray]
    deltas: dict[str, float]
    parts: dict[str, float]


def sample(explainer: Explainer, one: MethodRun, name: str, baselines: list[str]) -> Sample:
    """Return an example's maps: signed sums over channels; their mean last, if asked for."""
    example = explainer.example(name)
    (medium,) = explainer.media(example)
    answer = explainer.answer(one, example, [medium])
    made = Sample(objects(medium.decoded.numpy()), {}, {}, {}, {})
    for each in BASELINES if AVERAGE in baselines else baselines:
        found = attribute(answer, baseline=each)
        made.maps[each] = found.media["image"].sum(dim=0).numpy()
        made.contrasts[each] = (medium.decoded - medium.baseline(each)).abs().sum(dim=0).numpy()
        made.deltas[each] = found.relative_delta
        made.parts[each] = float(found.media["image"].sum()) / found.change
    if AVERAGE in baselines:
        made.maps[AVERAGE] = np.mean(list(made.maps.values()), axis=0)
        made.contrasts[AVERAGE] = np.mean(list(made.contrasts.values()), axis=0)
        made.deltas[AVERAGE] = max(made.deltas.values())
        made.parts[AVERAGE] = statistics.fmean(made.parts.values())
    return made


def rows_of(method: str, samples: list[Sample], baseline: str) -> list[list[str | float | int]]:
    """Return a method's row for each kind of mass."""
    areas = [float(one.mask.mean()) for one in samples]
    contrasts = [share_on(one.mask, one.contrasts[baseline]) for one in samples]
    rows: list[list[str | float | int]] = []
    for kind, mass in MASSES.items():
        shares = [share_on(one.mask, mass(one.maps[baseline])) for one in samples]
        against = [*_against(shares, areas), *_against(shares, contrasts)]
        rows.append([method, baseline, kind, 100 * statistics.fmean(shares), *against])
    return rows


def _against(shares: list[float], chance: list[float]) -> list[str | float | int]:
    wins = sum(share > other for share, other in zip(shares, chance, strict=True))
    return [100 * statistics.fmean(chance), wins, f"{above_chance(wins, len(shares)):.1e}"]


def delta_row(method: str, samples: list[Sample], baseline: str) -> list[str | float | int]:
    """Return how well a method's attributions sum to the change, and the image's part of it."""
    deltas = [one.deltas[baseline] for one in samples]
    small = sum(delta < LARGE_DELTA for delta in deltas)
    part = 100 * statistics.fmean(one.parts[baseline] for one in samples)
    return [method, baseline, small, f"{statistics.median(deltas):.1e}", f"{max(deltas):.1e}", part]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", default="1")
    parser.add_argument("--examples", type=int, default=50)
    parser.add_argument("--baseline", default="black,mean,blur,average")
    parser.add_argument("--methods", default="noprompt,promptfuse,blindprompt")
    arguments = parser.parse_args()
    workspace = Workspace()
    folder = find_run(Path(workspace.runs), arguments.run)
    plm = load_recorded(read_record(folder), "cpu", 1)
    explainer = open_explainer(
        folder,
        Path(workspace.cache),
        plm,
        split=None,
        live=live_encoders("cpu"),
        decode=media_decoder(Path(workspace.demo_data) / read_record(folder).dataset),
    )
    own = next(one for one in explainer.methods if one.run == folder.name)
    chosen = chosen_examples(explainer, own, arguments.examples)
    names = [name for name, _ in chosen]
    print(f"{folder.name}: {len(names)} examples up to place {chosen[-1][1]}: {', '.join(names)}")
    wanted, baselines = arguments.methods.split(","), arguments.baseline.split(",")
    samples = {
        one.method: [sample(explainer, one, name, baselines) for name in names]
        for one in explainer.methods
        if one.method in wanted
    }
    rows = [
        row for b in baselines for name, made in samples.items() for row in rows_of(name, made, b)
    ]
    columns = ["method", "baseline", "mass", "on objects %", "area %", "above", "p"]
    columns += ["contrast %", "above", "p"]
    title = f"share of the map's mass on the objects, {len(names)} examples"
    print(Table(title, columns, rows).text(width=140))
    rows = [delta_row(name, made, b) for b in baselines for name, made in samples.items()]
    columns = ["method", "baseline", "below 1e-2", "median", "largest", "image's part %"]
    print(Table(f"|delta| / change, {len(names)} examples", columns, rows).text(width=140))


if __name__ == "__main__":
    main()
