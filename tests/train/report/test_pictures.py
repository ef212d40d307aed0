import re
from xml.etree import ElementTree

import pytest

from promptfuse.train.report.collect import read_results
from promptfuse.train.report.groups import group_runs
from promptfuse.train.report.pictures import (
    Series,
    learning_curves,
    length_plots,
    line_chart,
    mask_pictures,
    smoothed,
    ticks,
)

from .made_runs import labels, made_run


def parsed(drawn):
    """The markup as XML, which a browser is more lenient than."""
    return ElementTree.fromstring(f"<div>{drawn}</div>")  # noqa: S314


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.0, 1.0, [0, 0.25, 0.5, 0.75, 1]),
        (3.0, 97.0, [0, 25, 50, 75, 100]),
        (5.0, 5.0, [4.5, 4.75, 5, 5.25, 5.5]),
        (-0.1, 0.3, [-0.1, 0, 0.1, 0.2, 0.3]),
    ],
)
def test_ticks_are_round_and_cover_the_values(low, high, expected):
    assert ticks(low, high) == pytest.approx(expected)


def test_a_line_goes_from_edge_to_edge():
    svg = parsed(line_chart("t", [Series("a", [(0, 0), (10, 1)])], x="step", y="loss"))
    (line,) = svg.iter("polyline")
    # left margin 48, right 440 − 12; bottom 260 − 40, top 12
    assert line.get("points") == "48.0,220.0 428.0,12.0"


def test_names_are_escaped():
    drawn = line_chart('"><b>', [Series("<script>", [(0, 0)])], x="<x>", y="&")
    assert "<script>" not in drawn
    assert "<b>" not in drawn
    assert {text.text for text in parsed(drawn).iter("text")} >= {"<x>", "&"}


def test_a_band_surrounds_its_line():
    series = Series("a", [(0, 1), (1, 1)], band=[(0, 0, 2), (1, 0, 2)], dashed=True)
    svg = parsed(line_chart("t", [series], x="", y=""))
    (band,) = svg.iter("polygon")
    assert band.get("points") == "48.0,12.0 428.0,12.0 428.0,220.0 48.0,220.0"
    (line,) = svg.iter("polyline")
    assert line.get("stroke-dasharray")


def test_smoothing_takes_means_of_equal_parts():
    assert smoothed([4.0, 2.0, 1.0, 3.0], 2) == [(2.0, 3.0), (4.0, 2.0)]
    assert smoothed([4.0, 2.0], 60) == [(1.0, 4.0), (2.0, 2.0)]


def groups_of(*folders):
    return group_runs(read_results(folders)[0])


def test_learning_curves_are_drawn_for_each_number_of_shots(tmp_path):
    first = made_run(tmp_path, labels(1.0), losses=(3.0, 1.0))
    second = made_run(tmp_path, labels(1.0), losses=(5.0, 1.0), seed=1)
    full = made_run(tmp_path, labels(1.0), losses=(1.0, float("nan")), shots=None)
    zero = made_run(tmp_path, labels(1.0), losses=(), shots=None, method="noprompt")
    (title, few), (_, whole) = learning_curves(groups_of(first, second, full, zero))
    assert title == "jokes, 8 shots"
    (line,) = parsed(few).iter("polyline")
    (band,) = parsed(few).iter("polygon")
    # the mean goes from 4 to 1 while the seeds span 3 to 5, so the band's top is above the line
    left, top = line.get("points").split()[0], band.get("points").split()[0]
    assert float(top.split(",")[1]) < float(left.split(",")[1])
    assert "nan" not in whole


def test_a_run_that_diverged_at_once_has_no_curve(tmp_path):
    folder = made_run(tmp_path, labels(1.0), losses=(float("inf"),))
    assert learning_curves(groups_of(folder)) == []


def test_prompt_lengths_are_drawn_where_there_are_two(tmp_path):
    five = made_run(tmp_path, labels(10.0), prompt_length=5)
    twenty = made_run(tmp_path, labels(20.0))
    assert length_plots(groups_of(five)) == []
    ((_, drawn),) = length_plots(groups_of(five, twenty))
    assert len(list(parsed(drawn).iter("circle"))) == 2


def test_the_masks_are_the_papers_figure_2():
    full, blind = (drawn for _, drawn in mask_pictures())
    # 4 prompt + 1 image + 5 text positions: 100 pairs; blind hides the 4 × 6 prompt→input ones
    assert len(re.findall("<rect", full)) == 100
    assert full.count("hidden-cell") == 0
    assert blind.count("hidden-cell") == 24
    hidden = [cell for cell in parsed(blind).iter("rect") if cell.get("class") == "hidden-cell"]
    # the grid begins at 64 and a cell is 20 wide: prompt rows end at 144, inputs begin there
    assert max(float(cell.get("y")) for cell in hidden) < 144
    assert min(float(cell.get("x")) for cell in hidden) >= 144
