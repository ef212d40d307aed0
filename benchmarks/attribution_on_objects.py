"""Measure how much of an explained answer's map lies on the drawn objects of demo-vqa.

    pfcli extract --dataset demo-vqa
    pfcli train --dataset demo-vqa --method promptfuse      # and blindprompt
    python -m promptfuse.benchmarks.attribution_on_objects [--run 1] [--baseline black,mean]

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

import math
import statistics

import numpy as np
import torch
import typer

from ..extract.reopen import live_encoders, media_decoder
from ..library.training import load_recorded
from ..library.workspace import Workspace
from ..tables import Table
from ..train.explain.attribution import attribute
from ..train.explain.beside import MethodRun
from ..train.explain.explainer import Explainer, open_explainer
from ..train.explain.explanation import LARGE_DELTA
from ..train.explain.fused_answer import BASELINES
from ..train.record import read_record
from ..train.report.predictions import rightness
from ..train.runs.folders import find_run

APART = 24
KINDS = ("number", "other")
AVERAGE = "average"

Row = list[str | float | int]


def chosen_examples(explainer: Explainer, own: MethodRun, count: int) -> dict[str, int]:
    """Return the first examples that fit, one an image: their places by id."""
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


def measure(
    explainer: Explainer, run: MethodRun, name: str, baselines: list[str]
) -> dict[str, list[float]]:
    """Return an example's figures by baseline, `average` being that of all.

    They are the objects' share of the map (the signed sum over channels) by absolute and by
    positive mass, of the area and of the contrast; the relative delta; and the image's part of the
    change in log-odds, of which the text's is the rest.
    """
    example = explainer.example(name)
    (medium,) = explainer.media(example)
    answer = explainer.answer(run, example, [medium])
    pixels = medium.decoded.numpy()
    background = np.median(pixels, axis=(1, 2), keepdims=True)
    objects = (np.abs(pixels - background) > APART).any(axis=0)
    made = {}
    for baseline in BASELINES if AVERAGE in baselines else baselines:
        told = attribute(answer, baseline=baseline)
        shares = told.media["image"]
        contrast = (medium.decoded - medium.baseline(baseline)).abs().sum(dim=0).numpy()
        part = float(shares.sum()) / told.change
        made[baseline] = shares.sum(dim=0).numpy(), contrast, told.relative_delta, part
    if AVERAGE in baselines:
        maps, contrasts, deltas, parts = zip(*made.values(), strict=True)
        means = np.mean(maps, axis=0), np.mean(contrasts, axis=0)
        made[AVERAGE] = *means, max(deltas), statistics.fmean(parts)
    return {
        baseline: [
            *(float(mass[objects].sum() / mass.sum()) for mass in (np.abs(map_), map_.clip(0))),
            float(objects.mean()),
            float(contrast[objects].sum() / contrast.sum()),
            delta,
            part,
        ]
        for baseline, (map_, contrast, delta, part) in made.items()
    }


def mass_rows(method: str, baseline: str, figures: np.ndarray) -> list[Row]:
    """Return a row for each kind of mass, against the area and the contrast: [N, 6] figures."""
    absolute, positive, *chances = figures.T[:4]
    rows: list[Row] = []
    for kind, shares in (("absolute", absolute), ("positive", positive)):
        row: Row = [method, baseline, kind, 100 * shares.mean()]
        for chance in chances:
            wins, n = int((shares > chance).sum()), len(shares)
            p = sum(math.comb(n, count) for count in range(wins, n + 1)) / 2**n
            row += [100 * chance.mean(), wins, f"{p:.1e}"]
        rows.append(row)
    return rows


def delta_row(method: str, baseline: str, figures: np.ndarray) -> Row:
    """Return how well a method's attributions sum to the change, and the image's part of it."""
    deltas, parts = figures.T[4:]
    small, part = int((deltas < LARGE_DELTA).sum()), 100 * parts.mean()
    return [method, baseline, small, f"{np.median(deltas):.1e}", f"{deltas.max():.1e}", part]


def main(
    run: str = "1",
    examples: int = 50,
    baseline: str = "black,mean,blur,average",
    methods: str = "noprompt,promptfuse,blindprompt",
) -> None:
    """Measure how much of an explained answer's map lies on the drawn objects of demo-vqa."""
    workspace = Workspace()
    folder = find_run(workspace.runs, run)
    record = read_record(folder)
    explainer = open_explainer(
        folder,
        workspace.cache,
        load_recorded(record, "cpu", 1),
        split=None,
        live=live_encoders("cpu"),
        decode=media_decoder(workspace.demo_data / record.dataset),
    )
    own = next(method for method in explainer.methods if method.run == folder.name)
    chosen = chosen_examples(explainer, own, examples)
    last = max(chosen.values())
    print(f"{folder.name}: {len(chosen)} examples up to place {last}: {', '.join(chosen)}")
    baselines = baseline.split(",")
    made = {
        method.method: [measure(explainer, method, name, baselines) for name in chosen]
        for method in explainer.methods
        if method.method in methods.split(",")
    }
    measured = [
        (method, name, np.array([figures[name] for figures in each]))
        for name in baselines
        for method, each in made.items()
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
    typer.run(main)
