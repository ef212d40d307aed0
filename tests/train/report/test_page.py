import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

from promptfuse.cache.examples import DatasetInfo, Example, write_examples
from promptfuse.tables import Table
from promptfuse.train.report.collect import group_runs, read_results
from promptfuse.train.report.order import order_tables
from promptfuse.train.report.page import PageContent, html_page
from promptfuse.train.report.paper_tables import all_tables
from promptfuse.train.report.pictures import learning_curves, length_plots, mask_pictures
from promptfuse.train.report.predictions import browse, rightness
from promptfuse.train.runs import FeatureUse, run_folders

from .made_runs import made_run

EVIL = "</script><script>document.title='taken'</script><img src=x onerror=alert(1)>"
PICTURE = "data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw=="


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


def content_of(tmp_path, **changes):
    written_cache(tmp_path / "cache")
    written_runs(tmp_path / "runs")
    groups = group_runs(read_results(run_folders(tmp_path / "runs"))[0])
    browsed, missing = browse(
        groups, tmp_path / "cache", thumbnail=lambda _dataset, _path: PICTURE, max_images=60
    )
    values = {
        "subtitle": "shapes <b>",
        "notes": ["a note & more", *missing],
        "tables": all_tables(groups),
        "order": [one.table for one in order_tables(groups)],
        "failed": Table("Failed in s", ["cell", "error"], [[EVIL, "ShotsError: 99"]]),
        "curves": learning_curves(groups),
        "lengths": length_plots(groups),
        "masks": mask_pictures(),
        "browsed": browsed,
    }
    return PageContent(**(values | changes))


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
    content = content_of(tmp_path)
    page = html_page(content)
    assert {int(one) for one in re.findall(r'data-table="(\d)"', page)} == {1, 2, 5, 6, 7}
    seen = Seen(page)
    drawn = len(content.tables) + len(content.order) + 2  # failed cells, answers
    assert seen.tags.count("table") == drawn
    assert seen.tags.count("svg") == len(content.curves) + len(content.lengths) + 2
    assert len(content.curves) == len(content.lengths) == 1
    for word in (
        "35.00 ± 7.07",
        "The paper&#x27;s table 2",
        "always True",
        "promptfuse",
        "ShotsError: 99",
    ):
        assert word in page
    assert [value for name, value in seen.attributes if name == "href"][1:] == [
        "#tables", "#order", "#failed", "#curves", "#lengths", "#masks", "#answers",
    ]  # fmt: skip


def test_nothing_is_fetched_and_nothing_untrusted_is_markup(tmp_path):
    page = html_page(content_of(tmp_path))
    seen = Seen(page)
    assert seen.tags.count("script") == 2  # the answers' JSON and the page's own
    assert "img" not in seen.tags
    assert "<b>" not in page
    assert "a note &amp; more" in page
    links = [value for name, value in seen.attributes if name in ("src", "href")]
    assert all(link.startswith(("#", "data:")) for link in links)
    assert not re.search(r"https?://|url\(|@import", page)
    assert any("default-src 'none'" in (value or "") for _, value in seen.attributes)


def test_the_answers_come_through_whole(tmp_path):
    page = html_page(content_of(tmp_path))
    (content,) = re.findall(r'<script type="application/json">(.*?)</script>', page)
    data = json.loads(content)
    assert [one["text"] for one in data["examples"]] == ["what colour", EVIL, "how many"]
    assert data["runs"][0]["predictions"] == ["red", EVIL, "blue"]
    assert data["runs"][0]["scores"] == [1.0, 0.0, 0.0]
    assert data["pictures"] == {"images/0.png": PICTURE, "images/1.png": PICTURE}


def test_sections_without_content_are_left_out(tmp_path):
    page = html_page(content_of(tmp_path, failed=None, lengths=[], browsed=[]))
    assert 'href="#failed"' not in page
    assert 'href="#lengths"' not in page
    assert 'href="#answers"' not in page


def test_what_was_explained_has_a_section(tmp_path):
    card = '<div class="card" data-explained>it</div>'
    page = html_page(content_of(tmp_path, explained=card))
    assert f'<section id="explained"><h2>What answers rest on</h2>{card}' in page
    assert '<a href="#explained">' in page


def test_pictures_are_limited_and_each_image_is_drawn_once(tmp_path):
    written_cache(tmp_path / "cache")
    written_runs(tmp_path / "runs")
    groups = group_runs(read_results(run_folders(tmp_path / "runs"))[0])
    asked = []

    def thumbnail(dataset, path):
        asked.append((dataset, path))
        return PICTURE

    (one,), _ = browse(groups, tmp_path / "cache", thumbnail=thumbnail, max_images=1)
    assert asked == [("shapes", "images/0.png")]
    assert list(one.pictures) == ["images/0.png"]


def test_without_the_cache_the_page_says_so(tmp_path):
    written_runs(tmp_path / "runs")
    groups = group_runs(read_results(run_folders(tmp_path / "runs"))[0])
    browsed, notes = browse(
        groups, tmp_path / "none", thumbnail=lambda _dataset, _path: None, max_images=1
    )
    assert browsed == []
    assert notes[0].startswith("no answers of shapes to browse: ")


def test_rightness_by_task():
    example = Example("1", "?", answer="Red", answers=("red",) * 2 + ("blue",) * 8)
    # two of ten say red: 8 subsets with 2 matches, 2 with 1: (8 · 2/3 + 2 · 1/3) / 10 = 0.6
    assert rightness("red", example, "vqa") == 0.6
    label = Example("1", "?", answer="True")
    assert rightness("True", label, "label") == 1
    assert rightness("False", label, "label") == 0


def browsed_by(browser, page, tmp_path, script=""):
    file = tmp_path / "page.html"
    file.write_text(page.replace("</body>", f"<script>{script}</script></body>"))
    command = [
        browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        "--enable-logging=stderr", f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom",
        file.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert "CONSOLE" not in done.stderr
    return done.stdout


BROWSER = shutil.which("chromium")

if BROWSER is not None:  # where there is none, the markup is all that can be looked at

    def test_a_browser_shows_the_answers_and_filters_them(tmp_path):
        page = html_page(content_of(tmp_path))
        whole = browsed_by(BROWSER, page, tmp_path)
        assert "3 of 3, page 1 of 1" in whole
        assert "<title>promptfuse report</title>" in whole
        assert whole.count(f'<img src="{PICTURE}"') == 3
        words = "const box = document.querySelector('[data-browse]');"
        right = (
            f"{words} const shown = box.querySelectorAll('select')[1]; shown.value = 'right';"
            "shown.dispatchEvent(new Event('change'));"
        )
        assert "1 of 3, page 1 of 1" in browsed_by(BROWSER, page, tmp_path, right)
        typed = (
            f"{words} const typed = box.querySelector('input'); typed.value = 'HOW many';"
            "typed.dispatchEvent(new Event('input'));"
        )
        found = browsed_by(BROWSER, page, tmp_path, typed)
        assert "1 of 3, page 1 of 1" in found
        assert '<td class="wrong">blue</td>' in found
