import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from promptfuse.cache.examples import DatasetInfo, Example, write_examples
from promptfuse.tables import Table
from promptfuse.train.record import FeatureUse
from promptfuse.train.report.collect import read_results
from promptfuse.train.report.groups import group_runs
from promptfuse.train.report.pages import Picture
from promptfuse.train.report.predictions import browse, rightness
from promptfuse.train.report.report import make_report
from promptfuse.train.runs.folders import run_folders

from .browser import browsed_by
from .made_runs import made_run

EVIL = "</script><script>document.title='taken'</script><img src=x onerror=alert(1)>"
GIF = "data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw=="
PICTURE = Picture(GIF, 144, 96)


def written_cache(root):
    texts = ["what colour", EVIL, "how many"]
    examples = [
        Example(
            id=str(index),
            text=text,
            answer="red",
            answers=("red",) * 10,
            answer_type="other",
            paths={"image": f"images/{index // 2}.png"},
        )
        for index, text in enumerate(texts)
    ]
    info = DatasetInfo("shapes", "vqav2", "vqa", modalities=("image",), splits={"val": 3})
    write_examples(root, info, {"val": examples})


def written_runs(root):
    answers = {"0": "red", "1": EVIL, "2": "blue"}
    image = {"image": FeatureUse("cc", "pooler", "small")}
    average = {"image": FeatureUse("cc", "average", "small")}
    t5 = {"source": "t5", "family": "t5"}
    for overall, changes in (
        (30.0, {}),
        (40.0, {"seed": 1}),
        (41.0, {"method": "blindprompt"}),
        (12.0, {"method": "blackimage"}),
        (20.0, {"prompt_length": 5}),
        (31.0, {"features": average}),
        (32.0, {"plm": t5}),
    ):
        made_run(
            root,
            {"overall": overall, "other": 33.3},
            split="val",
            answers=answers,
            **({"dataset": "shapes", "task": "vqa", "shots": None, "features": image} | changes),
        )


def report_of(tmp_path, **changes):
    written_cache(tmp_path / "cache")
    written_runs(tmp_path / "runs")
    report = replace(
        make_report(tmp_path / "runs"),
        source="runs <b>",
        notes=["a note & more"],
        failed=Table("Failed in s", ["cell", "error"], [[EVIL, "ShotsError: 99"]]),
    )
    return replace(report, **changes)


def page_of(tmp_path, **changes):
    report = report_of(tmp_path, **changes)
    return report.page(tmp_path / "cache", thumbnail=lambda *_medium: PICTURE)


class Seen(HTMLParser):
    """What a page is made of."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.words = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.words.append(data)


def test_every_table_and_picture_is_there(tmp_path):
    report = report_of(tmp_path)
    page = report.page(tmp_path / "cache")
    assert {int(number) for number in re.findall(r'data-table="(\d)"', page)} == {1, 2, 5, 6, 7}
    seen = Seen(page)
    drawn = len(report.tables) + len(report.order) + 2  # failed cells, answers
    assert seen.tags.count("table") == drawn
    assert seen.tags.count("svg") == 2 + 2  # a curve and lengths, and two masks
    for word in (
        "35.00 ± 7.07",
        "The paper&#39;s table 2",
        "always True",
        "promptfuse",
        "ShotsError: 99",
    ):
        assert word in page
    assert [value for name, value in seen.attributes if name == "href"][1:] == [
        "#tables", "#order", "#failed", "#curves", "#lengths", "#masks", "#answers",
    ]  # fmt: skip


def test_rows_are_marked_for_what_they_are(tmp_path):
    page = page_of(tmp_path)
    (row,) = re.findall(r'<tr class="trivial[^"]*">\s*<td>none</td>\s*<td>([^<]*)', page)
    assert row == "always True"


def test_nothing_is_fetched_and_nothing_untrusted_is_markup(tmp_path):
    page = page_of(tmp_path)
    seen = Seen(page)
    assert seen.tags.count("script") == 2  # the answers' JSON and the page's own
    assert "img" not in seen.tags
    assert "runs <b>" not in page
    assert "<script>document.title" not in page
    assert "a note &amp; more" in page
    links = [value for name, value in seen.attributes if name in ("src", "href")]
    assert all(link.startswith(("#", "data:")) for link in links)
    assert not re.search(r"https?://|url\(|@import", page)
    assert any("default-src 'none'" in (value or "") for _, value in seen.attributes)


def test_the_answers_come_through_whole(tmp_path):
    page = page_of(tmp_path)
    (content,) = re.findall(r'<script type="application/json">(.*?)</script>', page)
    data = json.loads(content)
    assert [row["text"] for row in data["examples"]] == ["what colour", EVIL, "how many"]
    assert data["runs"][0]["predictions"] == ["red", EVIL, "blue"]
    assert data["runs"][0]["scores"] == [1.0, 0.0, 0.0]
    shown = {"src": GIF, "width": 144, "height": 96}
    assert data["pictures"] == {"images/0.png": shown, "images/1.png": shown}


def test_sections_without_content_are_left_out(tmp_path):
    page = report_of(tmp_path, failed=None, order=[]).page(tmp_path / "nowhere")
    for name in ("failed", "order", "answers", "explained"):
        assert f'href="#{name}"' not in page, name
    assert 'href="#tables"' in page


def test_pictures_are_limited_and_each_image_is_drawn_once(tmp_path):
    written_cache(tmp_path / "cache")
    written_runs(tmp_path / "runs")
    groups = group_runs(read_results(run_folders(tmp_path / "runs"))[0])
    asked = []

    def thumbnail(*medium):
        asked.append(medium)
        return PICTURE

    (answers,), _ = browse(groups, tmp_path / "cache", thumbnail=thumbnail, max_images=1)
    assert asked == [("shapes", "image", "images/0.png", None)]
    assert list(answers.content["pictures"]) == ["images/0.png"]


def test_without_the_cache_the_page_says_so(tmp_path):
    written_runs(tmp_path / "runs")
    groups = group_runs(read_results(run_folders(tmp_path / "runs"))[0])
    browsed, notes = browse(groups, tmp_path / "none", thumbnail=None, max_images=1)
    assert browsed == []
    assert notes[0].startswith("no answers of shapes to browse: ")


def test_rightness_by_task():
    example = Example("1", "?", answer="Red", answers=("red",) * 2 + ("blue",) * 8)
    # two of ten say red: 8 subsets with 2 matches, 2 with 1: (8 · 2/3 + 2 · 1/3) / 10 = 0.6
    assert rightness("red", example, "vqa") == 0.6
    label = Example("1", "?", answer="True")
    assert rightness("True", label, "label") == 1
    assert rightness("False", label, "label") == 0


FIRST = "const box = document.querySelector('[data-browse]');"


@pytest.mark.browser
def test_a_browser_shows_the_answers_and_filters_them(tmp_path):
    page = page_of(tmp_path)
    whole = browsed_by(page, tmp_path)
    assert "3 of 3, page 1 of 1" in whole
    assert "<title>promptfuse report</title>" in whole
    assert whole.count(f'height="96" src="{GIF}" width="144">') == 3
    right = (
        f"{FIRST} const shown = box.querySelectorAll('select')[1]; shown.value = 'right';"
        "shown.dispatchEvent(new Event('change'));"
    )
    assert "1 of 3, page 1 of 1" in browsed_by(page, tmp_path, right)
    assert '<td class="wrong" data-column="answered">blue</td>' in browsed_by(
        page, tmp_path, typed("HOW many")
    )


def typed(words):
    return (
        f"{FIRST} const typed = box.querySelector('input'); typed.value = '{words}';"
        "typed.dispatchEvent(new Event('input'));"
    )


@pytest.mark.browser
def test_a_filter_that_finds_nothing_says_so(tmp_path):
    shown = browsed_by(page_of(tmp_path), tmp_path, typed("zebra"))
    assert "0 of 3, page 1 of 1" in shown
    assert '<td class="nothing" colspan="4">No answer matches: try other words' in shown


def test_buttons_say_what_they_do(tmp_path):
    seen = Seen(page_of(tmp_path))
    assert {"previous page", "next page"} <= set(seen.words)
    assert "on" not in seen.words
