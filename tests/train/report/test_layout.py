"""The pages as a browser lays them out: wide and narrow, light and dark."""

import html
import json

import pytest

from promptfuse.train.explain.explanation import example_folder
from promptfuse.train.report.explanation_page import write_explanation
from promptfuse.train.report.report import make_report
from promptfuse.train.runs.folders import run_folders

from .browser import title_of
from .test_explanation import explanation, method, pictured
from .test_page import page_of

SIZES = pytest.mark.parametrize("width", [1280, 400])
SCHEMES = pytest.mark.parametrize("dark", [False, True])

MEASURED = """
document.documentElement.style.scrollBehavior = 'auto';
const narrow = document.documentElement.clientWidth;
addEventListener('load', () => {
  const inside = (each) => each.closest('.scroll, nav');
  const wide = [...document.querySelectorAll('body *')].filter((each) =>
    !inside(each) && each.getBoundingClientRect().right > narrow + 1);
  const links = [...document.querySelectorAll('nav a')].map((link) => {
    link.click();
    const heading = document.querySelector(`${link.getAttribute('href')} h2`);
    const bar = document.querySelector('nav').getBoundingClientRect();
    const end = Math.ceil(scrollY + innerHeight) >= document.documentElement.scrollHeight - 1;
    const box = heading.getBoundingClientRect();
    const below = box.top - bar.bottom;
    return {name: heading.textContent, below, seen: box.bottom <= innerHeight, end};
  });
  const broken = [...document.querySelectorAll('td, th, p, h2, h3, a, button')].filter((each) => {
    const style = getComputedStyle(each);
    return style.overflowWrap === 'anywhere' || style.wordBreak === 'break-all';
  });
  parent.postMessage(JSON.stringify({
    narrow, page: document.documentElement.scrollWidth, links,
    wide: wide.map((each) => each.outerHTML.slice(0, 80)), broken: broken.length,
    ground: getComputedStyle(document.body).backgroundColor,
  }), '*');
});
"""


def whole_page(tmp_path):
    page_of(tmp_path)  # writes the runs and the cache
    (folder, *_) = run_folders(tmp_path / "runs")
    words = [(word, 0.1 * place) for place, word in enumerate("what colour is it".split())]
    shown = explanation(methods=[method("noprompt"), method(tokens=words)])
    write_explanation(example_folder(folder, shown.example), shown, pictured())
    return make_report(tmp_path / "runs").page(tmp_path / "cache", thumbnail=None), folder


def measured(page, tmp_path, **options):
    return json.loads(html.unescape(title_of(page, tmp_path, MEASURED, **options)))


@pytest.mark.browser
@SIZES
@SCHEMES
def test_links_land_on_their_headings_and_nothing_overflows(tmp_path, width, dark):
    page, folder = whole_page(tmp_path)
    seen = measured(page, tmp_path, width=width, dark=dark)
    assert seen["narrow"] == width
    assert seen["page"] <= width
    assert seen["wide"] == []
    assert seen["broken"] == 0
    assert seen["ground"] == ("rgb(20, 23, 29)" if dark else "rgb(251, 250, 247)")
    names = [link["name"] for link in seen["links"]]
    assert names[-2:] == ["What answers rest on", "Answers"]
    for link in seen["links"]:
        assert link["seen"], link
        assert -1 <= link["below"] <= 60 or (link["end"] and link["below"] > 0), link
    example = (folder / "explain" / "7" / "explanation.html").read_text()
    alone = measured(
        example.replace("<main>", "<nav></nav><main>"), tmp_path, width=width, dark=dark
    )
    assert (alone["wide"], alone["page"]) == ([], width)
