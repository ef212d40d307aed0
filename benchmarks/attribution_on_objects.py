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

import argparse
import dataclasses
import math
import statistics
from collections.abc import Callable

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
MASSES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "absolute": np.abs,
    "positive": lambda drawn: np.maximum(drawn, 0.0),
}

Row = list[str | float | int]


@dataclasses.dataclass
class Sample:
    """One example under one method and baseline: the objects [H, W] bool, and maps [H, W].

    A map is the signed sum over channels; the part is the image's share of the change in log-odds,
    of which the text's is the rest.
    """

    mask: np.ndarray
    map: np.ndarray
    contrast: np.ndarray
    delta: float
    part: float

    def on_objects(self, mass: np.ndarray) -> float:
        """Return the part of a non-negative map's sum that lies on the objects."""
        return float(mass[self.mask].sum() / mass.sum())


def objects(pixels: np.ndarray) -> np.ndarray:
    """Return where the objects are: [H, W] bool of pixels [C, H, W]."""
    background = np.median(pixels, axis=(1, 2), keepdims=True)
    return (np.abs(pixels - background) > APART).any(axis=0)


def chosen_examples(explainer: Explainer, own: MethodRun, count: int) -> dict[str, int]:
    """Return the first examples that fit, one an image: their places by id."""
    import torch

    chosen: dict[str, int] = {}
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
            chosen[example.id] = place
        if len(chosen) == count:
            break
    return chosen


def samples_of(
    explainer: Explainer, run: MethodRun, name: str, baselines: list[str]
) -> dict[str, Sample]:
    """Return an example's samples by baseline, and their average if that is asked for."""
    example = explainer.example(name)
    (medium,) = explainer.media(example)
    answer = explainer.answer(run, example, [medium])
    mask = objects(medium.decoded.numpy())
    samples: dict[str, Sample] = {}
    for baseline in BASELINES if AVERAGE in baselines else baselines:
        made = attribute(answer, baseline=baseline)
        shares = made.media["image"]
        contrast = (medium.decoded - medium.baseline(baseline)).abs().sum(dim=0).numpy()
        part = float(shares.sum()) / made.change
        drawn = shares.sum(dim=0).numpy()
        samples[baseline] = Sample(mask, drawn, contrast, made.relative_delta, part)
    if AVERAGE in baselines:
        each = list(samples.values())
        samples[AVERAGE] = Sample(
            mask,
            np.mean([sample.map for sample in each], axis=0),
            np.mean([sample.contrast for sample in each], axis=0),
            max(sample.delta for sample in each),
            statistics.fmean(sample.part for sample in each),
        )
    return samples


def mass_rows(method: str, baseline: str, samples: list[Sample]) -> list[Row]:
    """Return a method's row for each kind of mass, against the area and the contrast."""
    chances = [
        [float(sample.mask.mean()) for sample in samples],
        [sample.on_objects(sample.contrast) for sample in samples],
    ]
    rows: list[Row] = []
    for kind, mass in MASSES.items():
        shares = [sample.on_objects(mass(sample.map)) for sample in samples]
        row: Row = [method, baseline, kind, 100 * statistics.fmean(shares)]
        for chance in chances:
            wins, n = sum(np.greater(shares, chance)), len(shares)
            p = sum(math.comb(n, count) for count in range(wins, n + 1)) / 2**n
            row += [100 * statistics.fmean(chance), int(wins), f"{p:.1e}"]
        rows.append(row)
    return rows


def delta_row(method: str, baseline: str, samples: list[Sample]) -> Row:
    """Return how well a method's attributions sum to the change, and the image's part of it."""
    deltas = [sample.delta for sample in samples]
    small = sum(delta < LARGE_DELTA for delta in deltas)
    part = 100 * statistics.fmean(sample.part for sample in samples)
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
    folder = find_run(workspace.runs, arguments.run)
    plm = load_recorded(read_record(folder), "cpu", 1)
    explainer = open_explainer(
        folder,
        workspace.cache,
        plm,
        split=None,
        live=live_encoders("cpu"),
        decode=media_decoder(workspace.demo_data / read_record(folder).dataset),
    )
    own = next(run for run in explainer.methods if run.run == folder.name)
    chosen = chosen_examples(explainer, own, arguments.examples)
    last = max(chosen.values())
    print(f"{folder.name}: {len(chosen)} examples up to place {last}: {', '.join(chosen)}")
    wanted, baselines = arguments.methods.split(","), arguments.baseline.split(",")
    made = {
        run.method: [samples_of(explainer, run, name, baselines) for name in chosen]
        for run in explainer.methods
        if run.method in wanted
    }
    measured = [
        (method, baseline, [sample[baseline] for sample in samples])
        for baseline in baselines
        for method, samples in made.items()
    ]
    columns = ["method", "baseline", "mass", "on objects %", "area %", "above", "p"]
    columns += ["contrast %", "above", "p"]
    title = f"share of the map's mass on the objects, {len(chosen)} examples"
    rows = [row for given in measured for row in mass_rows(*given)]
    print(Table(title, columns, rows).text(width=140))
    columns = ["method", "baseline", "below 1e-2", "median", "largest", "image's part %"]
    rows = [delta_row(*given) for given in measured]
    print(Table(f"|delta| / change, {len(chosen)} examples", columns, rows).text(width=140))


if __name__ == "__main__":
    main()
